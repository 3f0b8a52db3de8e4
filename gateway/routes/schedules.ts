// PUT, GET and DELETE /v1/schedules/{id}, and GET /v1/schedules

import type Router from '@koa/router'
import { z } from 'zod'
import { MillraceError } from '../../shared/errors.ts'
import { nextRun, SCHEDULE_ID, type Schedule, viewSchedule } from '../../shared/schedule.ts'
import type { Schedules } from '../../shared/schedules.ts'
import { callerOf } from '../access/caller.ts'
import { requireMaySubmit } from '../access/rights.ts'
import { answerJson } from '../http/answer.ts'
import { checkBody, checkQuery, invalid, queryInteger } from '../http/checked-request.ts'
import { readJson } from '../http/request-body.ts'
import type { RedisGate } from '../redis-gate.ts'
import { type CheckParts, checkSubmission } from './check-submission.ts'
import { limitHasKey, submissionFields, type TaskDefaults, taskRequest } from './submission.ts'

const MIN_INTERVAL_MS = 1_000
const MAX_INTERVAL_MS = 365 * 24 * 60 * 60 * 1_000

/** Five fields, six with seconds in front, or a name. BullMQ's parser would fill missing ones up. */
const CRON_FORM = /^(@[a-z]+|\S+( +\S+){4,5})$/

const scheduleSchema = z
  .strictObject({
    cron: z.string().trim().max(200).regex(CRON_FORM, 'must have 5 fields, or 6 with seconds').optional(),
    timeZone: z.string().max(64).optional(),
    everyMs: z.int().min(MIN_INTERVAL_MS).max(MAX_INTERVAL_MS).optional(),
    task: submissionFields.omit({ id: true, delayMs: true }).refine(...limitHasKey),
  })
  .transform(({ cron, timeZone, everyMs, task }, context) => {
    const fault = timingFault(cron, timeZone, everyMs)
    if (fault) {
      context.addIssue(fault)
      return z.NEVER
    }
    const timing =
      cron === undefined ? { everyMs: everyMs ?? MIN_INTERVAL_MS } : { cron, timeZone: timeZone ?? 'UTC' }
    return { timing, task }
  })

const querySchema = z.object({
  limit: queryInteger(1, 100).default(20),
  cursor: z.string().regex(SCHEDULE_ID, 'is not a cursor that a page gave as `next`').optional(),
})

export interface ScheduleParts extends CheckParts, TaskDefaults {
  readonly gate: RedisGate
  readonly schedules: Schedules
}

export function scheduleRoutes(router: Router, parts: ScheduleParts): void {
  const { gate, schedules } = parts
  router.put('/v1/schedules/:id', async ctx => {
    const id = ctx.params.id ?? ''
    if (!SCHEDULE_ID.test(id)) {
      throw invalid('invalid-body', [{ path: 'id', message: 'must be 1 to 50 of A-Z a-z 0-9 _ -' }])
    }
    const wanted = checkBody(scheduleSchema, await readJson(ctx))
    // Its runs are tasks whose ids begin with its own.
    requireMaySubmit(callerOf(ctx), { ...wanted.task, id }, ['task'])
    const { schedule, created } = await gate.run(() => put(id, wanted, parts))
    answerJson(ctx, created ? 201 : 200, viewSchedule(schedule), { Location: `/v1/schedules/${id}` })
  })
  router.get('/v1/schedules/:id', async ctx => {
    const id = scheduleIdOf(ctx.params)
    const schedule = await gate.run(() => schedules.get(id))
    if (!schedule) throw unknownSchedule()
    answerJson(ctx, 200, viewSchedule(schedule))
  })
  router.delete('/v1/schedules/:id', async ctx => {
    const id = scheduleIdOf(ctx.params)
    if (!(await gate.run(() => schedules.remove(id)))) throw unknownSchedule()
    ctx.status = 204
  })
  router.get('/v1/schedules', async ctx => {
    const { limit, cursor = null } = checkQuery(querySchema, ctx)
    const page = await gate.run(() => schedules.list(limit, cursor))
    answerJson(ctx, 200, { schedules: page.schedules.map(viewSchedule), next: page.next })
  })
}

type Wanted = z.output<typeof scheduleSchema>

async function put(
  id: string,
  { timing, task }: Wanted,
  parts: ScheduleParts,
): Promise<{ schedule: Schedule; created: boolean }> {
  const type = await checkSubmission(task, parts, ['task'])
  const { id: _, delayMs: __, ...template } = taskRequest({ ...task, delayMs: 0 }, '', type, parts)
  return parts.schedules.put(id, { timing, task: template })
}

function timingFault(
  cron: string | undefined,
  timeZone: string | undefined,
  everyMs: number | undefined,
): { code: 'custom'; path: string[]; message: string } | null {
  const fault = (path: string, message: string) => ({ code: 'custom' as const, path: [path], message })
  if (cron === undefined) {
    if (everyMs === undefined) return fault('cron', 'either cron or everyMs is required')
    return timeZone === undefined ? null : fault('timeZone', 'goes with cron alone')
  }
  if (everyMs !== undefined) return fault('everyMs', 'only one of cron and everyMs can be given')
  // H stands for a random value in BullMQ's parser, another one at each run.
  if (/H/.test(cron.replace(/thu/gi, ''))) return fault('cron', 'H is not known here')
  try {
    if (nextRun(cron, 'UTC', Date.now()) === undefined) return fault('cron', 'never comes true')
  } catch (error) {
    return fault('cron', (error as Error).message)
  }
  return timeZone === undefined || isTimeZone(timeZone, cron)
    ? null
    : fault('timeZone', 'is not a time zone, such as Europe/Berlin')
}

/** Known to Node, which leaves out what depends on the machine (`local`), and to BullMQ's parser. */
function isTimeZone(timeZone: string, cron: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone })
    return nextRun(cron, timeZone, Date.now()) !== undefined
  } catch {
    return false
  }
}

/** The id of a path; one that no schedule can have is not found, like any other. */
function scheduleIdOf(params: Record<string, string | undefined>): string {
  const id = params.id ?? ''
  if (!SCHEDULE_ID.test(id)) throw unknownSchedule()
  return id
}

function unknownSchedule(): MillraceError {
  return new MillraceError('schedule-not-found', 'no schedule has this id')
}

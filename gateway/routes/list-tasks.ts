// GET /v1/tasks

import type Router from '@koa/router'
import { z } from 'zod'
import type { TaskStore } from '../../shared/redis-tasks.ts'
import { TASK_STATES } from '../../shared/task.ts'
import type { Tickets } from '../access/tickets.ts'
import { answerJson } from '../http/answer.ts'
import { checkQuery, queryInteger } from '../http/checked-request.ts'
import type { RedisGate } from '../redis-gate.ts'

/** A member of the index: see `taskMember` in shared/keys.ts. Opaque to callers. */
const INDEX_MEMBER = /^\d{13}:[A-Za-z0-9_-]{1,64}$/

const cursor = z.string().transform((text, context) => {
  const member = Buffer.from(text, 'base64url').toString('latin1')
  if (INDEX_MEMBER.test(member)) return member
  context.addIssue('is not a cursor that a page gave as `next`')
  return z.NEVER
})

const querySchema = z.object({
  state: z.enum(TASK_STATES).optional(),
  type: z.string().optional(),
  scheduleId: z.string().optional(),
  concurrencyKey: z.string().optional(),
  limit: queryInteger(1, 100).default(20),
  cursor: cursor.optional(),
})

interface ListParts {
  readonly gate: RedisGate
  readonly tasks: TaskStore
  readonly tickets: Tickets
}

export function listTasksRoute(router: Router, { gate, tasks, tickets }: ListParts): void {
  router.get('/v1/tasks', async ctx => {
    const query = checkQuery(querySchema, ctx)
    const page = await gate.run(() => tasks.list(query, query.limit, query.cursor ?? null))
    answerJson(ctx, 200, {
      tasks: page.tasks.map(task => tickets.viewTask(ctx, task)),
      next: page.next === null ? null : Buffer.from(page.next, 'latin1').toString('base64url'),
    })
  })
}

// POST /v1/tasks/batch

import { randomBytes } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'
import type Router from '@koa/router'
import type { Context } from 'koa'
import { v7 } from 'uuid'
import { z } from 'zod'
import { MillraceError } from '../../shared/errors.ts'
import type { Logger } from '../../shared/log.ts'
import { onceOf } from '../../shared/redis-idempotency.ts'
import type { TaskRecord, TaskRequest } from '../../shared/task.ts'
import type { Repeatable } from '../../shared/task-queue.ts'
import { type Caller, callerOf } from '../access/caller.ts'
import { requireMaySubmit } from '../access/rights.ts'
import { answerJson } from '../http/answer.ts'
import { refusalFor } from '../http/answer-problems.ts'
import { checkBody, dottedPath } from '../http/checked-request.ts'
import { keyedRequest, markReplayed } from '../http/idempotency-key.ts'
import { type ProblemDetails, problemDetails } from '../http/problem.ts'
import { readJson } from '../http/request-body.ts'
import { requestIdOf } from '../http/request-id.ts'
import { onlyOnce } from '../idempotency.ts'
import { newTaskId } from './new-task-id.ts'
import { submissionSchema } from './submission.ts'
import { type Accepted, accepted, prepare, type SubmitParts } from './submit.ts'

const MAX_TASKS = 1_000

const ID_BYTES = 16

/** So many are checked and sent at a time; other requests get a turn in between. */
const CHUNK = 100

const batchSchema = z.strictObject({ tasks: z.array(z.unknown()).min(1).max(MAX_TASKS) })

interface BatchParts extends SubmitParts {
  readonly logger: Logger
  readonly caller: Caller
}

/** What came of one of the tasks. */
type Result = { readonly task: Accepted } | { readonly problem: ProblemDetails }

/** Gives an id to a task that names none itself, by its place in the batch. */
type IdOf = (index: number) => string

export function submitBatchRoute(router: Router, parts: SubmitParts & { readonly logger: Logger }): void {
  router.post('/v1/tasks/batch', async ctx => {
    const body = await readJson(ctx)
    const { tasks } = checkBody(batchSchema, body)
    const caller = callerOf(ctx)
    const { results, replayed } = await parts.gate.run(() =>
      submitOnce(tasks, body, { ...parts, caller }, ctx),
    )
    if (replayed) {
      // The caller's first credential may have had rights that this one lacks.
      for (const [i, result] of results.entries())
        if ('task' in result) requireMaySubmit(caller, result.task, ['tasks', i])
      markReplayed(ctx)
    } else countAccepted(results, parts)
    answerJson(ctx, 207, { results: results.map(result => viewResult(result, ctx, parts)) })
  })
}

/** Submits the tasks; with a key each becomes one task, however often the request comes. */
async function submitOnce(
  tasks: readonly unknown[],
  body: unknown,
  parts: BatchParts,
  ctx: Context,
): Promise<{ results: Result[]; replayed: boolean }> {
  const toResult = (outcome: Accepted | Error): Result =>
    outcome instanceof Error
      ? { problem: problemDetails(refusalFor(outcome, ctx, parts.logger), requestIdOf(ctx)) }
      : { task: outcome }
  const keyed = keyedRequest(ctx, () => body)
  if (!keyed) {
    const outcomes = await submitAll(tasks, newTaskId, parts)
    const unclear = outcomes.find(isUnclear)
    // With nothing to tell apart, the whole is answered as any other request while Redis is away.
    if (unclear && outcomes.every(outcome => outcome instanceof Error)) throw unclear
    return { results: outcomes.map(toResult), replayed: false }
  }
  const memo = { seed: randomBytes(ID_BYTES).toString('hex'), createdAt: Date.now() }
  const { answer, replayed } = await onlyOnce(parts.idempotency, keyed, memo, async ({ seed, createdAt }) => {
    const outcomes = await submitAll(tasks, repeatableId(seed, createdAt), parts, {
      createdAt,
      once: index => onceOf(keyed, index),
    })
    // What is unclear now, a repetition finishes.
    const unclear = outcomes.find(isUnclear)
    if (unclear) throw unclear
    return outcomes.map(outcome => toResult(outcome instanceof Error ? outcome : accepted(outcome)))
  })
  return { results: answer, replayed }
}

/** Whether it is no refusal: something may have come of the task. */
function isUnclear(outcome: TaskRecord | Error): boolean {
  return outcome instanceof Error && !(outcome instanceof MillraceError)
}

/** What comes of each task, in their order. */
async function submitAll(
  tasks: readonly unknown[],
  idOf: IdOf,
  parts: BatchParts,
  repeatable?: Repeatable,
): Promise<(TaskRecord | Error)[]> {
  const chunks: Promise<(TaskRecord | Error)[]>[] = []
  for (let from = 0; from < tasks.length; from += CHUNK) {
    chunks.push(submitChunk(tasks.slice(from, from + CHUNK), from, idOf, parts, repeatable))
    await turn()
    // One is checked while Redis works on the one before: with more of them under way, collecting garbage costs more.
    await chunks.at(-2)
  }
  return (await Promise.all(chunks)).flat()
}

/** Never rejects. */
async function submitChunk(
  tasks: readonly unknown[],
  from: number,
  idOf: IdOf,
  parts: BatchParts,
  repeatable: Repeatable | undefined,
): Promise<(TaskRecord | Error)[]> {
  const checked = await Promise.all(
    tasks.map((task, i) => check(task, from + i, idOf, parts).catch((error: Error) => error)),
  )
  const requests = checked.filter((outcome): outcome is TaskRequest => !(outcome instanceof Error))
  const indexes = checked.flatMap((outcome, i) => (outcome instanceof Error ? [] : [from + i]))
  const submitted = await parts.queue.submitAll(
    requests,
    repeatable && { ...repeatable, once: i => repeatable.once(indexes[i]!) },
  )
  let next = 0
  return checked.map((outcome, i) => {
    if (outcome instanceof Error) return outcome
    const result = submitted[next++]!
    return result instanceof Error ? underPath(result, ['tasks', from + i]) : result
  })
}

/** The queue knows no batch. */
function underPath(error: Error, path: readonly PropertyKey[]): Error {
  if (!(error instanceof MillraceError)) return error
  const errors = error.errors?.map(fault => ({ ...fault, path: dottedPath([...path, fault.path]) }))
  return new MillraceError(error.code, error.message, { ...(errors && { errors }), cause: error })
}

async function check(task: unknown, index: number, idOf: IdOf, parts: BatchParts): Promise<TaskRequest> {
  const path = ['tasks', index]
  const submission = checkBody(submissionSchema, task, path)
  return prepare(submission, submission.id ?? idOf(index), parts.caller, parts, path)
}

/** The same ids whenever the batch is submitted again; in its order, like those of any batch. */
function repeatableId(seed: string, createdAt: number): IdOf {
  const random = Buffer.from(seed, 'hex')
  const first = random.readUInt32BE() >>> 2
  return index => v7({ random, msecs: createdAt, seq: first + index })
}

function countAccepted(results: readonly Result[], { metrics }: SubmitParts): void {
  for (const result of results) if ('task' in result) metrics.tasksSubmitted.inc({ type: result.task.type })
}

function viewResult(result: Result, ctx: Context, { tickets }: SubmitParts): object {
  if ('problem' in result) return { status: result.problem.status, problem: result.problem }
  return { status: 202, task: tickets.viewTask(ctx, result.task) }
}

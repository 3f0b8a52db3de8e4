// What all ways to submit a task have in common.

import type { Context } from 'koa'
import { type IdempotencyRecords, type KeyedRequest, onceOf } from '../../shared/redis-idempotency.ts'
import type { TaskRecord, TaskRequest } from '../../shared/task.ts'
import type { TaskQueue } from '../../shared/task-queue.ts'
import type { TaskType } from '../../shared/task-types.ts'
import { type Caller, callerOf } from '../access/caller.ts'
import { requireMaySubmit } from '../access/rights.ts'
import type { Tickets } from '../access/tickets.ts'
import { answerJson } from '../http/answer.ts'
import { markReplayed } from '../http/idempotency-key.ts'
import { onlyOnce } from '../idempotency.ts'
import type { GatewayMetrics } from '../metrics.ts'
import type { RedisGate } from '../redis-gate.ts'
import { type CheckParts, checkSubmission } from './check-submission.ts'
import { newTaskId } from './new-task-id.ts'
import { type Submission, type TaskDefaults, taskRequest } from './submission.ts'

export interface SubmitParts extends CheckParts, TaskDefaults {
  readonly gate: RedisGate
  readonly queue: TaskQueue
  readonly idempotency: IdempotencyRecords
  readonly metrics: GatewayMetrics
  readonly tickets: Tickets
}

/** A task as it is answered. */
export type Accepted = Omit<TaskRecord, 'input'>

/** What is kept of a task for those who repeat its submission. */
export function accepted({ input: _, ...task }: TaskRecord): Accepted {
  return task
}

/**
 * The task that a submission asks for, with its own id or else the one given. Throws `forbidden` and what
 * `checkSubmission` does; `path` is where it stands in the body.
 */
export function prepare(
  submission: Submission,
  newId: string,
  caller: Caller,
  parts: SubmitParts,
  path: readonly PropertyKey[] = [],
): TaskRequest | Promise<TaskRequest> {
  const { id = newId, channels } = submission
  requireMaySubmit(caller, { type: submission.type, id, channels }, path)
  const request = (type: TaskType) => taskRequest(submission, id, type, parts)
  const type = checkSubmission(submission, parts, path)
  return type instanceof Promise ? type.then(request) : request(type)
}

/**
 * Submits a task and answers it. With a key one task becomes of the request, however often it comes; `request` may
 * then be asked for it again, but not when the answer is known. The id that it is given is a new one.
 */
export async function submitTask(
  ctx: Context,
  keyed: KeyedRequest | null,
  parts: SubmitParts,
  request: (id: string) => TaskRequest | Promise<TaskRequest>,
): Promise<void> {
  const { task, replayed } = await parts.gate.run(() => submitOnce(keyed, parts, request))
  if (replayed) {
    // The caller's first credential may have had rights that this one lacks.
    requireMaySubmit(callerOf(ctx), task)
    markReplayed(ctx)
  } else parts.metrics.tasksSubmitted.inc({ type: task.type })
  const view = parts.tickets.viewTask(ctx, task)
  answerJson(ctx, 202, view, { Location: view.links.self })
}

async function submitOnce(
  keyed: KeyedRequest | null,
  { queue, idempotency }: SubmitParts,
  request: (id: string) => TaskRequest | Promise<TaskRequest>,
): Promise<{ task: Accepted; replayed: boolean }> {
  const id = newTaskId()
  if (!keyed) return { task: await queue.submit(await request(id)), replayed: false }
  const memo = { id, createdAt: Date.now() }
  const { answer, replayed } = await onlyOnce(idempotency, keyed, memo, async ({ id, createdAt }) =>
    accepted(await queue.submit(await request(id), { createdAt, once: () => onceOf(keyed) })),
  )
  return { task: answer, replayed }
}

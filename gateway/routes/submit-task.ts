// POST /v1/tasks

import type Router from '@koa/router'
import { type IdempotencyRecords, type KeyedRequest, onceOf } from '../../shared/redis-idempotency.ts'
import { type TaskRecord, viewTask } from '../../shared/task.ts'
import type { Repeatable, TaskQueue } from '../../shared/task-queue.ts'
import { checkBody } from '../http/checked-request.ts'
import { keyedRequest, markReplayed } from '../http/idempotency-key.ts'
import { readJson } from '../http/request-body.ts'
import { onlyOnce } from '../idempotency.ts'
import type { GatewayMetrics } from '../metrics.ts'
import type { RedisGate } from '../redis-gate.ts'
import { requestedType, type TypeParts } from './requested-type.ts'
import { newTaskId, type Submission, submissionSchema, taskRequest } from './submission.ts'

export interface SubmitParts extends TypeParts {
  readonly gate: RedisGate
  readonly queue: TaskQueue
  readonly idempotency: IdempotencyRecords
  readonly metrics: GatewayMetrics
  /** How long a task stays after its end, unless it says otherwise. */
  readonly retainMs: number
}

/** A task as it is answered. */
type Accepted = Omit<TaskRecord, 'input'>

export function submitTaskRoute(router: Router, parts: SubmitParts): void {
  router.post('/v1/tasks', async ctx => {
    const body = await readJson(ctx)
    const submission = checkBody(submissionSchema, body)
    const keyed = keyedRequest(ctx, body)
    const { task, replayed } = await parts.gate.run(() => submitOnce(submission, keyed, parts))
    if (replayed) markReplayed(ctx)
    else parts.metrics.tasksSubmitted.inc({ type: task.type })
    const view = viewTask(task)
    ctx.status = 202
    ctx.set('Location', view.links.self)
    ctx.body = view
  })
}

/** Submits a task; a request with a key becomes one task, however often it comes. */
async function submitOnce(
  submission: Submission,
  keyed: KeyedRequest | null,
  parts: SubmitParts,
): Promise<{ task: Accepted; replayed: boolean }> {
  if (!keyed) return { task: await submit(submission, parts), replayed: false }
  const memo = { id: submission.id ?? newTaskId(), createdAt: Date.now() }
  const { answer, replayed } = await onlyOnce(
    parts.idempotency,
    keyed,
    memo,
    async ({ id, createdAt }): Promise<Accepted> => {
      const repeatable = { createdAt, once: onceOf(keyed) }
      const { input: _, ...task } = await submit({ ...submission, id }, parts, repeatable)
      return task
    },
  )
  return { task: answer, replayed }
}

async function submit(
  submission: Submission,
  parts: SubmitParts,
  repeatable?: Repeatable,
): Promise<TaskRecord> {
  const type = await requestedType(submission, parts)
  return parts.queue.submit(taskRequest(submission, type, parts.retainMs), repeatable)
}

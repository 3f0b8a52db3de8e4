// What all ways to submit a task have in common.

import type { IdempotencyRecords } from '../../shared/redis-idempotency.ts'
import type { TaskRecord, TaskRequest } from '../../shared/task.ts'
import type { TaskQueue } from '../../shared/task-queue.ts'
import type { GatewayMetrics } from '../metrics.ts'
import type { RedisGate } from '../redis-gate.ts'
import { requestedType, type TypeParts } from './requested-type.ts'
import { type Submission, taskRequest } from './submission.ts'

export interface SubmitParts extends TypeParts {
  readonly gate: RedisGate
  readonly queue: TaskQueue
  readonly idempotency: IdempotencyRecords
  readonly metrics: GatewayMetrics
  /** How long a task stays after its end, unless it says otherwise. */
  readonly retainMs: number
}

/** A task as it is answered. */
export type Accepted = Omit<TaskRecord, 'input'>

/** What is kept of a task for those who repeat its submission. */
export function accepted({ input: _, ...task }: TaskRecord): Accepted {
  return task
}

/** The task that a submission asks for. Throws `unknown-task-type`, `invalid-input`; `path` is where it stands in the body. */
export async function prepare(
  submission: Submission,
  parts: SubmitParts,
  path: readonly PropertyKey[] = [],
): Promise<TaskRequest> {
  return taskRequest(submission, await requestedType(submission, parts, path), parts.retainMs)
}

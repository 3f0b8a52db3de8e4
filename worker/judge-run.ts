// What the end of a run means for its task. Pure.

import type { TaskError, TaskRecord } from '../shared/task.ts'
import type { TaskOutcome } from '../shared/task-transitions.ts'
import type { Settlement } from './run-handler.ts'
import { retryAfterOf, toTaskError } from './task-failure.ts'
import { checkResult } from './task-result.ts'
import type { StopCause } from './task-run.ts'

export type Verdict =
  | { kind: 'end'; outcome: TaskOutcome }
  /** The attempt failed and another one follows, no earlier than after `retryAfterMs`. */
  | { kind: 'retry'; error: TaskError; retryAfterMs: number }
  /** The worker shuts down: the same attempt runs again elsewhere. */
  | { kind: 'hand-back' }
  /** The task is no longer this worker's. */
  | { kind: 'leave' }

type Attempt = Pick<TaskRecord, 'attempt' | 'attempts' | 'timeoutMs'>

/** Of several reasons to stop, the strongest decides; `drain` only when the handler did not return. */
export function judgeRun(
  task: Attempt,
  settlement: Settlement,
  isStoppedBy: (cause: StopCause) => boolean,
): Verdict {
  if (isStoppedBy('lock-lost')) return { kind: 'leave' }
  if (isStoppedBy('cancelled')) return { kind: 'end', outcome: { state: 'cancelled' } }
  if (isStoppedBy('timeout')) return failedAttempt(task, timeout(task))
  if (settlement.how === 'returned') return returned(task, settlement.value)
  if (isStoppedBy('drain') || settlement.how !== 'threw') return { kind: 'hand-back' }
  return failedAttempt(task, toTaskError(settlement.error), retryAfterOf(settlement.error))
}

function returned(task: Attempt, value: unknown): Verdict {
  const checked = checkResult(value)
  if (!checked.ok) return failedAttempt(task, checked.error)
  return { kind: 'end', outcome: { state: 'completed', result: checked.result } }
}

function failedAttempt(task: Attempt, error: TaskError, retryAfterMs = 0): Verdict {
  if (error.retryable && task.attempt < task.attempts) return { kind: 'retry', error, retryAfterMs }
  return { kind: 'end', outcome: { state: 'failed', error } }
}

function timeout({ timeoutMs }: Attempt): TaskError {
  return { code: 'timeout', message: `the attempt took longer than ${timeoutMs} ms`, retryable: true }
}

// What a worker does with a task that it was given, as far as the task's record decides it. Pure.

import { isTerminal, type TaskRecord } from '../shared/task.ts'
import { lostRuns, type TaskOutcome } from '../shared/task-transitions.ts'

/** Runs of an attempt that are lost with their workers before the task is given up: it may be what ends them. */
export const MAX_LOST_RUNS = 5

export type BeforeRun =
  /** It has ended. */
  | { step: 'none' }
  /** It ends without a run. */
  | { step: 'end'; outcome: TaskOutcome }
  /** It is not due yet; `until` in ms since 1970. */
  | { step: 'wait'; until: number }
  | { step: 'run' }

export function beforeRun(task: TaskRecord, now: number): BeforeRun {
  if (isTerminal(task.state)) return { step: 'none' }
  if (task.cancelRequested) return { step: 'end', outcome: cancelledOutcome(task) }
  if (isExpired(task, now)) return { step: 'end', outcome: EXPIRED }
  if (lostRuns(task) >= MAX_LOST_RUNS) return { step: 'end', outcome: workerLost() }
  if (task.runAt !== null && task.runAt > now) return { step: 'wait', until: task.runAt }
  return { step: 'run' }
}

export const EXPIRED: TaskOutcome = { state: 'expired', reason: 'it was not started in time' }

/** Whether a task that has not been started yet may not be started any more. */
export function isExpired(task: Pick<TaskRecord, 'expiresAt' | 'startedAt'>, now: number): boolean {
  return task.expiresAt !== null && task.startedAt === null && task.expiresAt <= now
}

export function cancelledOutcome(task: Pick<TaskRecord, 'cancelReason'>): TaskOutcome {
  return { state: 'cancelled', reason: task.cancelReason ?? undefined }
}

function workerLost(): TaskOutcome {
  const message = `its worker was lost ${MAX_LOST_RUNS} times while it ran`
  return { state: 'failed', error: { code: 'worker-lost', message, retryable: false } }
}

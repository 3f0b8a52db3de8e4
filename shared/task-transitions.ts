// What may happen to a task, and what each step writes: its event, the states it may start from, the fields
// it changes. Pure; append-event.lua carries a transition out atomically.

import type { NewEvent } from './event.ts'
import type { Once, TaskWrite } from './event-log.ts'
import type { NewTask } from './redis-new-tasks.ts'
import { isQueuedAtOnce, type TaskError, type TaskRecord, type TaskRequest, taskEvent } from './task.ts'
import { newTaskFields } from './task-record.ts'

/** One event and the write that goes with it. */
export interface Transition {
  readonly event: NewEvent
  readonly write: TaskWrite
}

/** How a task ended. */
export type TaskOutcome =
  | { state: 'completed'; result: unknown }
  | { state: 'failed'; error: TaskError }
  | { state: 'cancelled' | 'expired'; reason?: string | undefined }

/** Where an outcome may come from: a task can fail before it starts, but only a running one completes. */
const ENDS_FROM = {
  completed: ['running'],
  failed: ['scheduled', 'queued', 'running'],
  cancelled: ['scheduled', 'queued', 'running'],
  expired: ['scheduled', 'queued'],
} as const

/** A new task, as `queued` or, with a delay, `scheduled`; `once`: of a submission that may be repeated. */
export function submitted(request: TaskRequest, now: number, once?: Once): NewTask {
  const data = waitingData(request.delayMs > 0 ? now + request.delayMs : null)
  return {
    taskId: request.id,
    event: taskEvent(request.id, 1, 'queued', data, now),
    fields: newTaskFields(request, now),
    jobName: isQueuedAtOnce(request) ? request.type : null,
    once,
  }
}

/** The delay of a task, or of its retry, is over. */
export function due(task: TaskRecord, now: number): Transition {
  return {
    event: taskEvent(task.id, task.attempt, 'queued', waitingData(null), now),
    write: { from: ['scheduled'], run: task.run, set: { state: 'queued', runAt: null } },
  }
}

interface Start {
  readonly worker: string
  readonly token: string
  readonly now: number
}

/**
 * A worker begins the first run of a task of which it knows no more than the id. It is refused where another step
 * comes first: the task is not due, has expired, was cancelled, has run before.
 */
export function startedFirst(taskId: string, { worker, token, now }: Start): Transition {
  return {
    event: taskEvent(taskId, 1, 'started', { worker, run: 1 }, now),
    write: {
      from: ['queued'],
      run: 0,
      unlessCancelled: true,
      unlessExpired: now,
      set: { state: 'running', run: 1, runToken: token, startedAt: now },
      answersFields: true,
    },
  }
}

/**
 * A worker begins a run. Every older run may no longer write.
 */
export function started(task: TaskRecord, { worker, token, now }: Start): Transition {
  const run = task.run + 1
  return {
    event: taskEvent(task.id, task.attempt, 'started', { worker, run }, now),
    write: {
      from: ['queued', 'running'],
      run: task.run,
      set: {
        state: 'running',
        run,
        runToken: token,
        write: null,
        startedAt: task.startedAt ?? now,
        lostRuns: lostRuns(task),
      },
    },
  }
}

/** Runs of the current attempt that were lost, at the moment in which the next one begins. */
export function lostRuns(task: TaskRecord): number {
  const lastWasLost = task.state === 'running' && task.handedBackRun !== task.run
  return task.lostRuns + (lastWasLost ? 1 : 0)
}

/** An attempt failed and another one follows after `delayMs`. */
export function retrying(
  task: Pick<TaskRecord, 'id' | 'attempt'>,
  { run, error, delayMs, now }: { run: number; error: TaskError; delayMs: number; now: number },
): Transition {
  const runAt = now + delayMs
  return {
    event: taskEvent(
      task.id,
      task.attempt,
      'retrying',
      { error, nextAttemptAt: new Date(runAt).toISOString() },
      now,
    ),
    write: {
      from: ['running'],
      run,
      unlessCancelled: true,
      set: { state: 'scheduled', attempt: task.attempt + 1, runAt, lostRuns: 0 },
    },
  }
}

/** Somebody asked for a running task to be cancelled; its worker is told. */
export function cancelling(task: TaskRecord, reason: string | undefined, now: number): Transition {
  return {
    event: taskEvent(task.id, task.attempt, 'cancelling', { reason }, now),
    write: { from: ['running'], set: { cancel: '1', cancelReason: reason ?? null } },
  }
}

/** The end of a task; `run` fences when it is a run that ends it, and then gives way to a cancellation. */
export function ended(
  task: Pick<TaskRecord, 'id' | 'attempt' | 'retainMs' | 'callbackUrl' | 'channels'>,
  outcome: TaskOutcome,
  { run, now, from }: { run?: number; now: number; from?: readonly string[] },
): Transition {
  const { state, ...data } = outcome
  return {
    event: taskEvent(task.id, task.attempt, state, data, now),
    write: {
      from: from ?? ENDS_FROM[state],
      ...(run !== undefined && { run, unlessCancelled: state !== 'cancelled' }),
      set: {
        state,
        finishedAt: now,
        ...(outcome.state === 'completed' && { result: JSON.stringify(outcome.result ?? null) }),
        ...(outcome.state === 'failed' && { error: JSON.stringify(outcome.error) }),
      },
      ...(!staysUntilClosed(task) && { expireMs: task.retainMs }),
    },
  }
}

/** Until its callback is queued and its copies are complete, however late; closing it sets its expiry. */
export function staysUntilClosed({
  callbackUrl,
  channels,
}: Pick<TaskRecord, 'callbackUrl' | 'channels'>): boolean {
  return callbackUrl !== null || channels.length > 0
}

function waitingData(runAt: number | null): object {
  return runAt === null ? { state: 'queued' } : { state: 'scheduled', runAt: new Date(runAt).toISOString() }
}

// A task: its states, its record in Redis and the form in which callers see it. Pure.

import type { NewEvent } from './event.ts'

export type TaskState = 'scheduled' | 'queued' | 'running' | 'completed' | 'failed' | 'cancelled' | 'expired'

export const TASK_STATES: readonly TaskState[] = [
  'scheduled',
  'queued',
  'running',
  'completed',
  'failed',
  'cancelled',
  'expired',
]

/** Types of the events after which nothing is appended to a task's log; also the names of its last states. */
export const TERMINAL_STATES = ['completed', 'failed', 'cancelled', 'expired'] as const
export type TerminalState = (typeof TERMINAL_STATES)[number]

export function isTerminal(stateOrEventType: string): stateOrEventType is TerminalState {
  return (TERMINAL_STATES as readonly string[]).includes(stateOrEventType)
}

/** `[A-Za-z0-9_-]{1,64}`, not all digits, since BullMQ refuses such job ids. */
export const TASK_ID = /^(?!\d+$)[A-Za-z0-9_-]{1,64}$/

/** Keys that tasks share to be bounded together. */
export const CONCURRENCY_KEY = /^[A-Za-z0-9][A-Za-z0-9:._-]{0,127}$/

/** Names of task types. */
export const TASK_TYPE = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/

/** Between two attempts of a task. */
export interface Backoff {
  readonly type: 'fixed' | 'exponential'
  /** Before the second attempt; `exponential` doubles it before each further one. */
  readonly delayMs: number
  /** 0–1: the share of the delay that is random. */
  readonly jitter?: number | undefined
}

export interface TaskProgress {
  readonly percent?: number | undefined
  readonly message?: string | undefined
  readonly details?: unknown
}

export interface TaskError {
  readonly code: string
  readonly message: string
  readonly retryable: boolean
}

/** What is asked for when a task is submitted, defaults filled in. Times in ms. */
export interface TaskRequest {
  readonly id: string
  readonly type: string
  readonly input: unknown
  readonly delayMs: number
  readonly priority: number
  readonly attempts: number
  readonly backoff: Backoff | null
  readonly timeoutMs: number
  readonly expiresInMs: number | null
  readonly retainMs: number
  /** Of all tasks with this key no more than the limit run at once. */
  readonly concurrencyKey?: string | null
  readonly concurrencyLimit?: number | null
  /** Gets a POST of the terminal event. */
  readonly callbackUrl?: string | undefined
  /** Further channels that get a copy of its events. */
  readonly channels?: readonly string[] | undefined
  /** The schedule that submits it. */
  readonly scheduleId?: string
  /** The ended task that it runs again. */
  readonly retryOf?: string
}

/** Whether a task goes to the end of the queue as soon as it is recorded: no delay, priority or key says otherwise. */
export function isQueuedAtOnce({ concurrencyKey, delayMs, priority }: TaskRequest): boolean {
  return concurrencyKey == null && delayMs === 0 && priority === 0
}

/** The record of a task. Times in ms since 1970. */
export interface TaskRecord {
  readonly id: string
  readonly type: string
  readonly state: TaskState
  /** The attempt that runs, or that the task waits for; the first is 1. */
  readonly attempt: number
  readonly attempts: number
  readonly backoff: Backoff | null
  /** Runs so far; each `started` event raises it, and only the newest run may write. */
  readonly run: number
  /** Runs of the current attempt that ended without an outcome, since their worker was lost. */
  readonly lostRuns: number
  /** The run that its worker gave back in good order before it had an outcome; such a run is not lost. */
  readonly handedBackRun: number | null
  /** What the worker that began the current run knows it by. */
  readonly runToken: string | null
  readonly input: unknown
  readonly priority: number
  readonly timeoutMs: number
  readonly retainMs: number
  readonly runAt: number | null
  readonly expiresAt: number | null
  readonly cancelRequested: boolean
  /** Why, as whoever asked put it. */
  readonly cancelReason: string | null
  readonly progress: TaskProgress | null
  readonly result: unknown
  readonly error: TaskError | null
  readonly createdAt: number
  readonly startedAt: number | null
  readonly finishedAt: number | null
  readonly lastEventId: string
  readonly concurrencyKey: string | null
  readonly concurrencyLimit: number | null
  readonly callbackUrl: string | null
  readonly channels: readonly string[]
  readonly scheduleId: string | null
  readonly retryOf: string | null
}

/** A task as the HTTP API shows it, as JSON. */
export interface TaskView {
  readonly id: string
  readonly type: string
  readonly state: TaskState
  readonly attempt: number
  readonly attempts: number
  readonly progress: TaskProgress | null
  readonly result: unknown
  readonly error: TaskError | null
  readonly createdAt: string
  readonly startedAt: string | null
  readonly finishedAt: string | null
  readonly lastEventId: string
  readonly concurrencyKey: string | undefined
  readonly channels: readonly string[] | undefined
  readonly scheduleId: string | undefined
  readonly retryOf: string | undefined
  readonly links: { readonly self: string; readonly events: string; readonly cancel: string }
}

export function viewTask(task: Omit<TaskRecord, 'input'>): TaskView {
  const self = `/v1/tasks/${task.id}`
  return {
    id: task.id,
    type: task.type,
    state: task.state,
    attempt: task.attempt,
    attempts: task.attempts,
    progress: task.progress,
    result: task.result,
    error: task.error,
    createdAt: new Date(task.createdAt).toISOString(),
    startedAt: isoOrNull(task.startedAt),
    finishedAt: isoOrNull(task.finishedAt),
    lastEventId: task.lastEventId,
    concurrencyKey: task.concurrencyKey ?? undefined,
    channels: task.channels.length > 0 ? task.channels : undefined,
    scheduleId: task.scheduleId ?? undefined,
    retryOf: task.retryOf ?? undefined,
    links: { self, events: `${self}/events`, cancel: `${self}/cancel` },
  }
}

/** An event of a task's log; `data` is completed by what every task event carries. */
export function taskEvent(
  taskId: string,
  attempt: number,
  type: string,
  data: object,
  time = Date.now(),
): NewEvent {
  const full = { taskId, attempt, time: new Date(time).toISOString(), ...data }
  return { type, time, format: 'json', data: JSON.stringify(full) }
}

function isoOrNull(time: number | null): string | null {
  return time === null ? null : new Date(time).toISOString()
}

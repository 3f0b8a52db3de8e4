// The public face for handler authors (`millrace/task`): what a task definition and its context look like.
// It checks nothing: definitions are validated where they are loaded, since a plain object may be one too.

import type { z } from 'zod'
import type { Backoff } from '../shared/task.ts'

export type { Backoff }

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

/** What a running handler is given. Every method resolves when the event is recorded or, for progress, taken over. */
export interface TaskContext {
  readonly id: string
  /** 1 on the first attempt. A run that was lost with its worker keeps its number. */
  readonly attempt: number
  /** Aborted on cancel, on timeout, when the worker drains and when the task was taken over by another worker. */
  readonly signal: AbortSignal
  /** @param percent 0–100, or null while it can't be told. Merged to at most 20 a second; the latest wins. */
  progress(percent: number | null, message?: string, details?: unknown): Promise<void>
  /** Appends a partial result: any JSON, never merged. Rejects with code `event-too-large` over 64 KiB. */
  output(chunk: unknown): Promise<void>
  /**
   * Appends an event of the handler's own: a type of `[a-z][a-z0-9-]{0,63}` that the broker doesn't use itself.
   * Rejects with code `event-too-large` over 64 KiB.
   */
  emit(type: string, data?: unknown): Promise<void>
  /** Appends a log line, level `info` by default. Rejects with code `event-too-large` over 64 KiB. */
  log(message: string, level?: LogLevel): Promise<void>
}

/** What the broker reads off an error that a handler throws. It is retryable unless it says otherwise. */
export interface TaskFailure {
  message: string
  code?: string
  retryable?: boolean
  /** The next attempt comes no earlier, even where the backoff is shorter; at most 24 h. */
  retryAfterMs?: number | undefined
}

export interface TaskDefinition<Input = unknown> {
  /** `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`, unique among the worker's modules. */
  type: string
  /** A zod 4 schema; gateways check input against its JSON Schema, the worker against itself. Absent: any JSON. */
  input?: z.ZodType<Input>
  /** 1–25, default 1; a submitter may say otherwise. */
  attempts?: number
  /** Pause before a further attempt; none by default. A submitter may say otherwise. */
  backoff?: Backoff
  /** For one attempt, at most 7 days, default 1 h; a submitter may say otherwise. */
  timeoutMs?: number
  /**
   * 1–1,000: its tasks that run at once, on all workers together; any number by default. A task with a concurrency key
   * of its own goes by that instead.
   */
  concurrency?: number
  /** Run in a worker thread: for CPU-bound work, which would starve its neighbours. Default false. */
  thread?: boolean
  /** Returns the result (JSON, at most 1 MiB). Throwing is a failed attempt: see {@link TaskFailure}. */
  run(input: Input, context: TaskContext): unknown
}

/** Gives a definition its types: `input` of `run` is what the schema puts out. */
export function defineTask<Input>(definition: TaskDefinition<Input>): TaskDefinition<Input> {
  return definition
}

// The error that the shipped tasks throw: what `TaskFailure` describes, as a class.

import type { TaskFailure } from './define-task.ts'

/** A failed attempt with a code of its own; `retryable: false` ends the task at once. */
export class HandlerError extends Error implements TaskFailure {
  readonly code: string
  readonly retryable: boolean
  readonly retryAfterMs: number | undefined

  constructor(
    code: string,
    message: string,
    options: { retryable: boolean; retryAfterMs?: number | undefined; cause?: unknown },
  ) {
    super(message, { cause: options.cause })
    this.name = 'HandlerError'
    this.code = code
    this.retryable = options.retryable
    this.retryAfterMs = options.retryAfterMs
  }
}

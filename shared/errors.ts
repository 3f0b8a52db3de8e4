// The closed list of error codes that callers of Millrace can meet, and the error that carries one.

/** Codes of refused requests. gateway/http/problem.ts maps each to its HTTP status and title. */
export type ErrorCode =
  | 'invalid-json'
  | 'invalid-body'
  | 'invalid-query'
  | 'invalid-input'
  | 'unknown-task-type'
  | 'task-exists'
  | 'not-retryable'
  | 'idempotency-key-reused'
  | 'idempotency-in-progress'
  | 'unauthorized'
  | 'forbidden'
  | 'token-keys-unavailable'
  | 'task-not-found'
  | 'schedule-not-found'
  | 'not-found'
  | 'method-not-allowed'
  | 'not-acceptable'
  | 'reserved-channel'
  | 'cross-site-request'
  | 'invalid-channel'
  | 'body-too-large'
  | 'event-too-large'
  | 'invalid-header'
  | 'invalid-request'
  | 'headers-too-large'
  | 'request-timeout'
  | 'rate-limited'
  | 'too-many-connections'
  | 'redis-unavailable'
  | 'gateway-full'
  | 'shutting-down'
  | 'internal'

/** One place in a request that is wrong; `path` is dotted (`input.items.0.url`), empty for the whole. */
export interface FieldError {
  readonly path: string
  readonly message: string
}

/** A refusal that may be shown to the caller as it is: `detail` holds nothing internal. */
export class MillraceError extends Error {
  readonly code: ErrorCode
  readonly errors: readonly FieldError[] | undefined

  constructor(
    code: ErrorCode,
    detail: string,
    options: { errors?: readonly FieldError[]; cause?: unknown } = {},
  ) {
    super(detail, { cause: options.cause })
    this.name = 'MillraceError'
    this.code = code
    this.errors = options.errors
  }
}

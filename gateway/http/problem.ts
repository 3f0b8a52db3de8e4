// What a refused caller is told: problem details (RFC 9457). The one place that maps error codes to statuses.

import type { ErrorCode, FieldError, MillraceError } from '../../shared/errors.ts'

interface Problem {
  readonly status: number
  readonly title: string
  /** Value of `Retry-After`. */
  readonly retryAfterSeconds?: number
  /** Value of `WWW-Authenticate`. */
  readonly challenge?: string
}

export const PROBLEMS: Readonly<Record<ErrorCode, Problem>> = {
  'invalid-json': { status: 400, title: 'The body is not JSON' },
  'invalid-query': { status: 400, title: 'The query is not valid' },
  'invalid-header': { status: 400, title: 'A header is not valid' },
  'invalid-request': { status: 400, title: 'The request is not HTTP' },
  unauthorized: { status: 401, title: 'The credential is missing or no good', challenge: 'Bearer' },
  forbidden: { status: 403, title: 'The credential lacks a right' },
  'cross-site-request': { status: 403, title: 'The request comes from another site' },
  'reserved-channel': { status: 403, title: 'The channel is reserved' },
  'not-found': { status: 404, title: 'There is nothing here' },
  'task-not-found': { status: 404, title: 'There is no such task' },
  'schedule-not-found': { status: 404, title: 'There is no such schedule' },
  'method-not-allowed': { status: 405, title: 'The method is not allowed here' },
  'not-acceptable': { status: 406, title: 'There is no such representation' },
  'request-timeout': { status: 408, title: 'The request took too long' },
  'task-exists': { status: 409, title: 'The task exists already' },
  'not-retryable': { status: 409, title: 'The task can not be run again' },
  'idempotency-in-progress': {
    status: 409,
    title: 'The first request is in progress',
    retryAfterSeconds: 1,
  },
  'body-too-large': { status: 413, title: 'The body is too large' },
  'event-too-large': { status: 413, title: 'An event is too large' },
  'invalid-body': { status: 422, title: 'The body is not valid' },
  'invalid-input': { status: 422, title: 'The input does not suit the task type' },
  'unknown-task-type': { status: 422, title: 'There is no such task type' },
  'idempotency-key-reused': { status: 422, title: 'The idempotency key belongs to another request' },
  'invalid-channel': { status: 422, title: 'The channel name is not valid' },
  'rate-limited': { status: 429, title: 'Too many requests', retryAfterSeconds: 1 },
  'too-many-connections': { status: 429, title: 'Too many open connections', retryAfterSeconds: 5 },
  'headers-too-large': { status: 431, title: 'The headers are too large' },
  internal: { status: 500, title: 'Something went wrong' },
  'redis-unavailable': { status: 503, title: 'Redis is away', retryAfterSeconds: 1 },
  'token-keys-unavailable': { status: 503, title: 'The keys of tokens are away', retryAfterSeconds: 1 },
  'gateway-full': { status: 503, title: 'This gateway is full', retryAfterSeconds: 1 },
  'shutting-down': { status: 503, title: 'This gateway is shutting down', retryAfterSeconds: 1 },
}

export const PROBLEM_TYPE = 'application/problem+json'

/** What a refused caller is told. `errors` is absent where no field is to blame. */
export interface ProblemDetails {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly detail: string
  readonly code: ErrorCode
  readonly errors?: readonly FieldError[] | undefined
  readonly requestId: string
}

export function problemDetails({ code, message, errors }: MillraceError, requestId: string): ProblemDetails {
  const { status, title } = PROBLEMS[code]
  return { type: `urn:millrace:problem:${code}`, title, status, detail: message, code, errors, requestId }
}

/** The body of a refusal, as JSON text. */
export function problemBody(refusal: MillraceError, requestId: string): string {
  return JSON.stringify(problemDetails(refusal, requestId))
}

// Turns whatever goes wrong behind it, and whatever nobody answered, into a problem.

import type { Context } from 'koa'
import { MillraceError } from '../../shared/errors.ts'
import type { Logger } from '../../shared/log.ts'
import { unanswered } from '../redis-gate.ts'
import { answerJson } from './answer.ts'
import { PROBLEM_TYPE, PROBLEMS, problemDetails } from './problem.ts'
import { isRedisOutage } from './redis-outage.ts'
import { requestIdOf } from './request-id.ts'

/** What nobody answered: an unknown path or method. */
export function answerUnanswered(ctx: Context): void {
  const refusal = unansweredRequest(ctx)
  if (refusal) writeProblem(ctx, refusal)
}

/** Whatever was thrown. */
export function answerProblem(ctx: Context, error: unknown, log: Logger): void {
  if (ctx.respond === false || ctx.headerSent) {
    log.error({ err: error, requestId: requestIdOf(ctx) }, 'failed after the answer had begun')
    ctx.respond = false
    ctx.res.destroy()
  } else {
    writeProblem(ctx, refusalFor(error, ctx, log))
  }
}

function writeProblem(ctx: Context, refusal: MillraceError): void {
  const { status, retryAfterSeconds, challenge } = PROBLEMS[refusal.code]
  if (retryAfterSeconds !== undefined) ctx.set('Retry-After', String(retryAfterSeconds))
  if (challenge !== undefined) ctx.set('WWW-Authenticate', challenge)
  answerJson(ctx, status, problemDetails(refusal, requestIdOf(ctx)), {}, PROBLEM_TYPE)
}

/** Koa and its router leave an unknown path or method without a body. */
function unansweredRequest(ctx: Context): MillraceError | null {
  if (ctx.respond === false || ctx.headerSent || ctx.body != null) return null
  if (ctx.status === 405)
    return new MillraceError('method-not-allowed', `only ${ctx.response.get('Allow')} can be used here`)
  if (ctx.status === 404) return new MillraceError('not-found', 'nothing is served under this path')
  return null
}

/** A refusal that tells nothing internal; what is behind it goes to the log. */
export function refusalFor(error: unknown, ctx: Context, log: Logger): MillraceError {
  const requestId = requestIdOf(ctx)
  if (error instanceof MillraceError) {
    if (error.code === 'internal') log.error({ err: error, requestId }, 'request failed')
    return error
  }
  if (isRedisOutage(error)) {
    log.debug({ err: error, requestId }, 'Redis failed a request')
    return unanswered(error)
  }
  log.error({ err: error, requestId }, 'request failed')
  return new MillraceError('internal', 'this is a fault of the server; its log has more under the request id')
}

// Bounds how long a client may leave an answer unread, since the answer is kept in memory for it meanwhile.
// Event streams bound this for themselves.

import type { Middleware } from 'koa'

const RESPONSE_TIMEOUT_MS = 60_000

/** Closes a connection that takes nothing of its answer for this long. */
export function responseTimeout(timeoutMs = RESPONSE_TIMEOUT_MS): Middleware {
  return async (ctx, next) => {
    await next()
    // Node lifts it again when the answer is out.
    if (ctx.respond !== false) ctx.res.setTimeout(timeoutMs)
  }
}

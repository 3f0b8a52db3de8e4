// The id that a request is known by in answers and in the log.

import { randomUUID } from 'node:crypto'
import type { Context } from 'koa'

const WELL_FORMED = /^[A-Za-z0-9._-]{1,128}$/

/** Takes over the caller's `X-Request-Id`, if well-formed, else makes one; every answer carries it. */
export function assignRequestId(ctx: Context): void {
  const given = ctx.req.headers['x-request-id']
  ctx.state.requestId = typeof given === 'string' && WELL_FORMED.test(given) ? given : randomUUID()
}

export function requestIdOf(ctx: Context): string {
  return ctx.state.requestId as string
}

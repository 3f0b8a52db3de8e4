// Cross-origin resource sharing: tells browsers which pages may send requests here and read the answers.

import koaCors from '@koa/cors'
import type { Context, Middleware } from 'koa'
import type { AllowedOrigins } from './allowed-origins.ts'

/** As long as Chromium keeps what a preflight was told. */
const PREFLIGHT_MAX_AGE_S = 7_200

/** What a page may read of an answer beside what it may always. */
const EXPOSED = [
  'X-Request-Id',
  'Location',
  'Retry-After',
  'RateLimit',
  'RateLimit-Policy',
  'Idempotency-Replayed',
  'Preference-Applied',
]

/**
 * Answers preflights, and marks answers (streams and refusals too) for pages of allowed origins. Others get no such
 * headers, so that browsers keep the answers from them.
 */
export function cors(origins: AllowedOrigins): Middleware {
  const originOf = (ctx: Context): string => ctx.get('Origin')
  return koaCors({
    origin: ctx => (origins.allows(originOf(ctx)) ? (origins.any ? '*' : originOf(ctx)) : ''),
    // With them the origin is sent in place of a '*'.
    credentials: ctx => origins.trusts(originOf(ctx)),
    allowMethods: 'GET,HEAD,POST,PUT,DELETE',
    exposeHeaders: EXPOSED,
    maxAge: PREFLIGHT_MAX_AGE_S,
  })
}

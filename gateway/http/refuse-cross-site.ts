// Keeps pages of other sites from writing: a browser sends a simple POST anywhere without asking first, also to
// a broker on the user's own machine.

import type { Middleware } from 'koa'
import { MillraceError } from '../../shared/errors.ts'
import type { AllowedOrigins } from './allowed-origins.ts'

const READING: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS'])

/**
 * Refuses what a browser says comes from another site (Fetch Metadata, which a page can't forge), unless its origin is
 * allowed. Callers that are no browsers don't send the header.
 */
export function refuseCrossSite(origins: AllowedOrigins): Middleware {
  return (ctx, next) => {
    const writes = !READING.has(ctx.method)
    if (writes && ctx.get('Sec-Fetch-Site') === 'cross-site' && !origins.allows(ctx.get('Origin'))) {
      throw new MillraceError('cross-site-request', 'pages of another site may not write here')
    }
    return next()
  }
}

// Keeps pages of other sites from writing: a browser sends a simple POST anywhere without asking first, also to
// a broker on the user's own machine.

import type { Context, Middleware } from 'koa'
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

/**
 * Throws `cross-site-request` unless a request reads, or comes from a page of this very origin or one that is named: for
 * requests whose credential is a cookie, which browsers add whoever's page it is. Who is no browser sends a header.
 */
export function requireTrustedOrigin(ctx: Context, origins: AllowedOrigins): void {
  if (READING.has(ctx.method)) return
  const origin = ctx.get('Origin')
  const isSame = origin === '' ? ctx.get('Sec-Fetch-Site') === 'same-origin' : hostOf(origin) === ctx.host
  if (!isSame && !origins.trusts(origin))
    throw new MillraceError('cross-site-request', 'with a cookie only pages of this origin may write')
}

/** Not its scheme: a proxy in front may have ended TLS. */
function hostOf(origin: string): string | null {
  return URL.canParse(origin) ? new URL(origin).host : null
}

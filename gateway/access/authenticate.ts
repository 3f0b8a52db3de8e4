// Finds out who sends a request, before anything else is done for it.

import type { Middleware } from 'koa'
import type { AllowedOrigins } from '../http/allowed-origins.ts'
import { requireTrustedOrigin } from '../http/refuse-cross-site.ts'
import type { Credentials } from './credentials.ts'
import { readCredential } from './read-credential.ts'
import { unauthorized } from './refusals.ts'
import { isPublic } from './rules.ts'

/** Sets `ctx.state.caller`. Without a credential nothing is answered but what the rules call public. */
export function authenticate(credentials: Credentials, origins: AllowedOrigins): Middleware {
  return (ctx, next) => {
    if (isPublic(ctx.method, ctx.path)) return next()
    const given = readCredential(ctx)
    if (!given) throw unauthorized('send an API key or a token: Authorization: Bearer …')
    if (given.from === 'cookie') requireTrustedOrigin(ctx, origins)
    const found = credentials.callerOf(given)
    // Most are known at once; a promise more would be paid by every request.
    if (!(found instanceof Promise)) {
      ctx.state.caller = found
      return next()
    }
    return found.then(caller => {
      ctx.state.caller = caller
      return next()
    })
  }
}

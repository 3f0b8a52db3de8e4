// Where a request carries its credential.

import type { Context } from 'koa'
import type { GivenCredential } from './credentials.ts'

const BEARER = /^Bearer +(\S+) *$/i

/** The name of the cookie, for pages: they can set no header on an EventSource. */
const COOKIE = 'millrace'

/** The only paths that take a token in the query, since an EventSource can be told nothing else. */
const STREAMS = /^\/v1\/(events|(tasks|channels)\/[^/]+\/events)$/

const READING: ReadonlySet<string> = new Set(['GET', 'HEAD'])

/** The header counts before the query, and the query before the cookie; null where there is none of them. */
export function readCredential(ctx: Context): GivenCredential | null {
  const { authorization } = ctx.req.headers
  const bearer = authorization === undefined ? undefined : BEARER.exec(authorization)?.[1]
  if (bearer !== undefined) return { text: bearer, from: 'header' }
  const token = ctx.querystring === '' ? null : tokenOfStream(ctx)
  if (token) return { text: token, from: 'url' }
  const cookie = ctx.req.headers.cookie === undefined ? undefined : ctx.cookies.get(COOKIE)
  return cookie ? { text: cookie, from: 'cookie' } : null
}

function tokenOfStream(ctx: Context): string | null {
  if (!READING.has(ctx.method) || !STREAMS.test(ctx.path)) return null
  return new URLSearchParams(ctx.querystring).get('token')
}

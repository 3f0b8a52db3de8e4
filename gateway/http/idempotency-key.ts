// The `Idempotency-Key` header: makes a request safe to repeat when its sender can't know what became of it.

import type { Context } from 'koa'
import { MillraceError } from '../../shared/errors.ts'
import { digestOf, type KeyedRequest } from '../../shared/redis-idempotency.ts'
import { callerOf } from '../access/caller.ts'

const MAX_CHARS = 255

/** A string of a structured field (RFC 9651, 3.3.3), as draft-ietf-httpapi-idempotency-key-header has it … */
const QUOTED = /^"((?:[ !#-[\]-~]|\\["\\])*)"$/
/** … or, as most clients send it, the bare key. */
const BARE = /^[!#-~][ -~]*$/

/**
 * The request as its key makes it known, or null where it has none. `asked` answers all that the request asks for, as JSON.
 * Throws `invalid-header`.
 */
export function keyedRequest(ctx: Context, asked: () => unknown): KeyedRequest | null {
  const key = readKey(ctx)
  if (key === null) return null
  const fingerprint = digestOf(JSON.stringify([ctx.path, asked()]))
  // Nobody may read another one's answer, or take its key away.
  return { key: JSON.stringify([callerOf(ctx).name, key]), fingerprint }
}

/** Says that this answer was given before. */
export function markReplayed(ctx: Context): void {
  ctx.set('Idempotency-Replayed', 'true')
}

export function keyReused(): MillraceError {
  return new MillraceError(
    'idempotency-key-reused',
    'Idempotency-Key: the key was used for a request that asked for something else',
    {
      errors: [{ path: 'Idempotency-Key', message: 'was used for a request that asked for something else' }],
    },
  )
}

function readKey(ctx: Context): string | null {
  const given = ctx.req.headers['idempotency-key']
  if (given === undefined) return null
  // Node makes one of several, which would be another key.
  const isSingle = ctx.req.headersDistinct['idempotency-key']?.length === 1
  const text = isSingle ? String(given) : ''
  const key = QUOTED.exec(text)?.[1]?.replace(/\\(.)/g, '$1') ?? BARE.exec(text)?.[0] ?? ''
  if (key.length > 0 && key.length <= MAX_CHARS) return key
  const message = `must be given once, as 1 to ${MAX_CHARS} characters of visible ASCII, bare or in double quotes`
  throw new MillraceError('invalid-header', `Idempotency-Key: ${message}`, {
    errors: [{ path: 'Idempotency-Key', message }],
  })
}

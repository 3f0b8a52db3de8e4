// Millrace's own tokens, which let their holder watch some channels for some time: the tickets in `links.events`, and
// what `POST /v1/tokens` mints. JWTs of a type and with a key of their own, so that no user's JWT passes for one.

import { createHmac } from 'node:crypto'
import { errors, jwtVerify } from 'jose'
import { z } from 'zod'
import { type Caller, rightsOf } from './caller.ts'
import { digestOfCredential } from './credential-digest.ts'
import { NOTHING, Patterns, patternList } from './patterns.ts'
import { unauthorized } from './refusals.ts'
import type { SigningKey } from './signing-key.ts'

/** `typ` of their header. */
export const SUBSCRIBER_TOKEN = 'millrace+jwt'
const HEADER = base64url({ alg: 'HS256', typ: SUBSCRIBER_TOKEN })

const payloadSchema = z.object({ subscribe: patternList, exp: z.int() })

export class SubscriberTokens {
  readonly #key: SigningKey

  constructor(key: SigningKey) {
    this.#key = key
  }

  /**
   * Makes a token. `expiresAt` in ms since 1970, cut down to seconds. Throws `redis-unavailable` where the key is not
   * known yet. Not by the JWT library, whose signing is asynchronous and would cost a batch of 1,000 tasks 90 ms
   * instead of 8.
   */
  sign({ subscribe, expiresAt }: { subscribe: readonly string[]; expiresAt: number }): string {
    const signed = `${HEADER}.${base64url({ subscribe, exp: Math.floor(expiresAt / 1000) })}`
    const signature = createHmac('sha256', this.#key.current()).update(signed).digest('base64url')
    return `${signed}.${signature}`
  }

  /** Whose a token is. Throws `unauthorized`, and `redis-unavailable` where the key is not known yet. */
  async check(token: string): Promise<Caller> {
    const key = this.#key.current()
    try {
      const checks = { algorithms: ['HS256'], typ: SUBSCRIBER_TOKEN, requiredClaims: ['exp'] }
      const { payload } = await jwtVerify(token, key, checks)
      const { subscribe, exp } = payloadSchema.parse(payload)
      return {
        name: `token:${digestOfCredential(token)}`,
        credential: 'token',
        rights: { ...rightsOf([]), subscribe: new Patterns(subscribe) },
        types: NOTHING,
        expiresAt: exp * 1000,
      }
    } catch (error) {
      const isOver = error instanceof errors.JWTExpired
      throw unauthorized(isOver ? 'the token has expired' : 'the token is not one that was made here')
    }
  }
}

function base64url(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}

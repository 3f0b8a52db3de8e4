// JWTs of users, made by whoever knows the users: checked by a shared secret or by the public keys behind a URL.

import {
  createRemoteJWKSet,
  customFetch,
  decodeProtectedHeader,
  errors,
  type JWTPayload,
  type JWTVerifyGetKey,
  type JWTVerifyOptions,
  jwtVerify,
  type RemoteJWKSetOptions,
} from 'jose'
import { z } from 'zod'
import type { GatewayConfig } from '../../shared/config.ts'
import { MillraceError } from '../../shared/errors.ts'
import type { Logger } from '../../shared/log.ts'
import { type Caller, rightsOf } from './caller.ts'
import { digestOfCredential } from './credential-digest.ts'
import { EVERYTHING, Patterns, patternList } from './patterns.ts'
import { unauthorized } from './refusals.ts'

/** Public keys alone: one that both signs and checks has no place behind a URL. */
const PUBLIC_KEY_ALGORITHMS = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ...['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'],
]

/** Well within the time in which a request is answered. */
const FETCH_TIMEOUT_MS = 2_000

/** Keys are fetched anew this often, so that those that were withdrawn go. */
const REFRESH_MS = 5 * 60 * 1000

/** A key that is not known is looked for this often at most, whatever tokens name. */
const COOLDOWN_MS = 10_000

/** When that failed, it is tried this often at most. */
const RETRY_MS = 1_000

/** Clocks differ. It does not lengthen a token's life. */
const CLOCK_TOLERANCE_SECONDS = 5

const MAX_SUBJECT_CHARS = 128

/** The claim `millrace`: what the user may do. */
const claimSchema = z.strictObject({
  tasks: patternList.default([]),
  types: patternList.optional(),
  subscribe: patternList.default([]),
  publish: patternList.default([]),
})

type RemoteKeys = ReturnType<typeof createRemoteJWKSet>

export class UserTokens {
  readonly #secret: Uint8Array | null
  readonly #remoteKeys: RemoteKeys | null
  readonly #checks: JWTVerifyOptions
  readonly #log: Logger
  readonly #onRefresh: () => void
  #refresh: NodeJS.Timeout | undefined
  /** Before it the keys are not fetched for a token, since they were away a moment ago. In ms of `performance.now()`. */
  #retryAt = 0

  /** `onRefresh` is called when keys were fetched that may differ from those before. */
  constructor(config: GatewayConfig, log: Logger, onRefresh: () => void) {
    const { MILLRACE_JWT_SECRET: secret, MILLRACE_JWKS_URL: url } = config
    const { MILLRACE_JWT_AUDIENCE: audience, MILLRACE_JWT_ISSUER: issuer } = config
    this.#secret = secret === undefined ? null : Buffer.from(secret)
    // Known keys stay when they can't be fetched: the refresh below is what replaces them.
    const options: RemoteJWKSetOptions = {
      timeoutDuration: FETCH_TIMEOUT_MS,
      cooldownDuration: COOLDOWN_MS,
      cacheMaxAge: Infinity,
      [customFetch]: async (...request) => {
        if (performance.now() < this.#retryAt) throw keysUnavailable()
        return fetch(...request)
      },
    }
    this.#remoteKeys = url === undefined ? null : createRemoteJWKSet(new URL(url), options)
    this.#checks = {
      requiredClaims: ['exp'],
      clockTolerance: CLOCK_TOLERANCE_SECONDS,
      ...(audience !== undefined && { audience }),
      ...(issuer !== undefined && { issuer }),
    }
    this.#log = log
    this.#onRefresh = onRefresh
  }

  /** Fetches the keys, if there are any to be fetched, and again from time to time. Never rejects. */
  async start(): Promise<void> {
    const keys = this.#remoteKeys
    if (!keys) return
    const refresh = () => {
      this.#retryAt = 0
      return keys.reload().then(this.#onRefresh, error => {
        this.#log.warn({ err: error }, 'MILLRACE_JWKS_URL: the keys could not be fetched; known ones stay')
      })
    }
    this.#refresh = setInterval(refresh, REFRESH_MS)
    await refresh()
  }

  stop(): void {
    clearInterval(this.#refresh)
  }

  /** Whose a token is. Throws `unauthorized`, and `token-keys-unavailable` when its key can't be fetched. */
  async check(token: string): Promise<Caller> {
    return callerOf(await this.#verify(token), token)
  }

  async #verify(token: string): Promise<JWTPayload> {
    try {
      const { alg } = decodeProtectedHeader(token)
      // The algorithm belongs to the source of the key: a public key never serves as an HMAC secret.
      const { payload } =
        alg === 'HS256' && this.#secret
          ? await jwtVerify(token, this.#secret, { ...this.#checks, algorithms: ['HS256'] })
          : await jwtVerify(token, this.#publicKey, { ...this.#checks, algorithms: PUBLIC_KEY_ALGORITHMS })
      return payload
    } catch (error) {
      if (error instanceof MillraceError) throw error
      // Its messages name what was wrong and repeat nothing of the token.
      const why = error instanceof errors.JOSEError ? `: ${error.message}` : ''
      throw unauthorized(`the token is not accepted${why}`)
    }
  }

  readonly #publicKey: JWTVerifyGetKey = async (header, token) => {
    if (!this.#remoteKeys) throw unauthorized('tokens of this algorithm are not accepted')
    try {
      return await this.#remoteKeys(header, token)
    } catch (error) {
      if (error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys)
        throw error
      if (error instanceof MillraceError) throw error
      this.#retryAt = performance.now() + RETRY_MS
      // Not louder: whoever sends tokens of keys that are not there could fill the log.
      this.#log.debug({ err: error }, 'MILLRACE_JWKS_URL: the key of a token could not be fetched')
      throw keysUnavailable()
    }
  }
}

function keysUnavailable(): MillraceError {
  return new MillraceError('token-keys-unavailable', 'the key of the token can not be fetched at present')
}

function callerOf({ sub, exp = 0, millrace = {} }: JWTPayload, token: string): Caller {
  const claim = claimSchema.safeParse(millrace)
  if (!claim.success) {
    const [issue] = claim.error.issues
    throw unauthorized(
      `the token's claim ${['millrace', ...(issue?.path ?? [])].join('.')}: ${issue?.message}`,
    )
  }
  const { tasks, types, subscribe, publish } = claim.data
  const ofTasks = new Patterns(tasks)
  return {
    name: nameOf(sub, token),
    credential: 'jwt',
    rights: {
      ...rightsOf([]),
      'tasks.read': ofTasks,
      'tasks.write': ofTasks,
      subscribe: new Patterns(subscribe),
      publish: new Patterns(publish),
    },
    types: types === undefined ? EVERYTHING : new Patterns(types),
    expiresAt: exp * 1000,
  }
}

/** Without a subject each token is a caller of its own. */
function nameOf(subject: unknown, token: string): string {
  if (typeof subject !== 'string' || subject === '') return `token:${digestOfCredential(token)}`
  return `user:${subject.length <= MAX_SUBJECT_CHARS ? subject : digestOfCredential(subject)}`
}

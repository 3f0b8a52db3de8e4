// A signing key that the gateways agree on through Redis, where no secret is configured that all of them have.

import { type KeyObject, randomBytes } from 'node:crypto'
import type { Redis } from 'ioredis'
import { MillraceError } from '../../shared/errors.ts'
import { SIGNING_SECRET_KEY } from '../../shared/keys.ts'
import type { Logger } from '../../shared/log.ts'
import { deriveKey, type SigningKey } from './signing-key.ts'

/** Redis may have lost it, or gone back to an older one: it is looked at this often. */
const CHECK_MS = 5_000

/** Whoever guesses the secret can make tokens: one that was set by a mistake, such as an empty one, is not taken. */
const MIN_SECRET_CHARS = 32

export class RedisSigningKey implements SigningKey {
  readonly #redis: Redis
  readonly #log: Logger
  readonly #onChange: () => void
  /** Until Redis has been asked, what this gateway would propose. */
  #secret = randomBytes(32).toString('base64url')
  #key: KeyObject | null = null
  #timer: NodeJS.Timeout | undefined

  /** `onChange` is called when there is another key: what the one before has signed is worth nothing from then on. */
  constructor(redis: Redis, log: Logger, onChange: () => void) {
    this.#redis = redis
    this.#log = log
    this.#onChange = onChange
  }

  current(): KeyObject {
    if (this.#key) return this.#key
    throw new MillraceError(
      'redis-unavailable',
      'tokens can not be checked before Redis has been reached once',
    )
  }

  /** Never rejects. */
  async start(): Promise<void> {
    this.#redis.on('ready', this.#agree)
    this.#timer = setInterval(this.#agree, CHECK_MS)
    await this.#agree()
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#redis.off('ready', this.#agree)
  }

  /** Takes the secret that is there; where there is none, puts its own, which outlives a loss of Redis's data so. */
  readonly #agree = async (): Promise<void> => {
    if (this.#redis.status !== 'ready') return
    try {
      let before = await this.#redis.set(SIGNING_SECRET_KEY, this.#secret, 'NX', 'GET')
      if (before !== null && before.length < MIN_SECRET_CHARS) {
        this.#log.warn(`${SIGNING_SECRET_KEY} had fewer than ${MIN_SECRET_CHARS} characters and was replaced`)
        await this.#redis.set(SIGNING_SECRET_KEY, this.#secret)
        before = null
      }
      if (this.#key && (before === null || before === this.#secret)) return
      this.#secret = before ?? this.#secret
      this.#key = deriveKey(this.#secret)
      this.#onChange()
    } catch (error) {
      this.#log.debug({ err: error }, 'the signing key could not be asked for')
    }
  }
}

// Access control as it is configured: what it is made of, and what keeps that up to date.

import { randomBytes } from 'node:crypto'
import type { Redis } from 'ioredis'
import { accessIsOn, type GatewayConfig, namesCallers } from '../../shared/config.ts'
import type { Logger } from '../../shared/log.ts'
import { StartupError } from '../../shared/startup-error.ts'
import { readApiKeys } from './api-keys.ts'
import { Credentials } from './credentials.ts'
import { RedisSigningKey } from './redis-signing-key.ts'
import { deriveKey, type SigningKey } from './signing-key.ts'
import { SubscriberTokens } from './subscriber-tokens.ts'
import { Tickets } from './tickets.ts'
import { UserTokens } from './user-tokens.ts'

export class Access {
  /** What the application needs of it. */
  readonly parts: {
    readonly credentials: Credentials | null
    readonly tickets: Tickets
    readonly tokens: SubscriberTokens
  }
  readonly #config: GatewayConfig
  readonly #log: Logger
  readonly #userTokens: UserTokens
  readonly #redisKey: RedisSigningKey | null

  /** Throws StartupError. */
  constructor(config: GatewayConfig, redis: Redis, log: Logger) {
    this.#config = config
    this.#log = log
    const isOn = accessIsOn(config)
    // What everybody may mint must be worth nothing where access control is on: a key of its own signs it.
    const secret = isOn ? config.MILLRACE_JWT_SECRET : randomBytes(32).toString('base64url')
    const onKeys = (): void => this.parts.credentials?.forget()
    this.#redisKey = secret === undefined ? new RedisSigningKey(redis, log, onKeys) : null
    const key: SigningKey = this.#redisKey ?? staticKey(secret ?? '')
    const tokens = new SubscriberTokens(key)
    this.#userTokens = new UserTokens(config, log, onKeys)
    this.parts = {
      credentials: isOn ? new Credentials(apiKeys(config), tokens, this.#userTokens) : null,
      // Where everybody may watch everything, tokens are minted all the same, so that who mints some need not care.
      tickets: new Tickets(isOn ? tokens : null),
      tokens,
    }
  }

  /** Says aloud whether there is access control, and gets what it needs from elsewhere, as far as it can be had now. */
  async start(): Promise<void> {
    await this.#redisKey?.start()
    if (this.parts.credentials) return this.#userTokens.start()
    const ignored = namesCallers(this.#config) ? '; the keys that are configured are not asked for' : ''
    const { HOST: host } = this.#config
    this.#log.warn(
      { host },
      `access control is off: whoever reaches this address may do everything${ignored}`,
    )
  }

  stop(): void {
    this.#redisKey?.stop()
    this.#userTokens.stop()
  }
}

function staticKey(secret: string): SigningKey {
  const key = deriveKey(secret)
  return { current: () => key }
}

function apiKeys(config: GatewayConfig): ReturnType<typeof readApiKeys> {
  const keys = readApiKeys(config)
  const { MILLRACE_JWT_SECRET, MILLRACE_JWKS_URL } = config
  if (keys.size > 0 || MILLRACE_JWT_SECRET !== undefined || MILLRACE_JWKS_URL !== undefined) return keys
  throw new StartupError('MILLRACE_API_KEYS_FILE: has no key, so that nobody could come in')
}

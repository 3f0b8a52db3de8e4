// Finds out whose a credential is, whatever its kind.

import { decodeProtectedHeader } from 'jose'
import type { ApiKeys } from './api-keys.ts'
import type { Caller } from './caller.ts'
import { digestOfCredential } from './credential-digest.ts'
import { unauthorized } from './refusals.ts'
import { SUBSCRIBER_TOKEN, type SubscriberTokens } from './subscriber-tokens.ts'
import type { UserTokens } from './user-tokens.ts'

const MAX_CHARS = 8_192

/** Tokens that are known to be good; more push the oldest out. */
const MAX_KNOWN = 10_000

export interface GivenCredential {
  readonly text: string
  readonly from: 'header' | 'cookie' | 'url'
}

export class Credentials {
  readonly #keys: ApiKeys
  readonly #subscriberTokens: SubscriberTokens
  readonly #userTokens: UserTokens
  /** By their digest. */
  #known = new Map<string, Caller>()

  constructor(keys: ApiKeys, subscriberTokens: SubscriberTokens, userTokens: UserTokens) {
    this.#keys = keys
    this.#subscriberTokens = subscriberTokens
    this.#userTokens = userTokens
  }

  /**
   * The caller: at once where the credential is an API key or a token that was seen before. Throws `unauthorized`, or
   * rejects with it; also with `redis-unavailable` and `token-keys-unavailable`.
   */
  callerOf({ text, from }: GivenCredential): Caller | Promise<Caller> {
    if (text.length > MAX_CHARS) throw unauthorized('the credential is too long')
    const digest = digestOfCredential(text)
    // URLs stand in the logs of proxies and in histories; what lives for ever has no place there.
    const caller = (from === 'url' ? undefined : this.#keys.get(digest)) ?? this.#known.get(digest)
    return caller ? unexpired(caller) : this.#check(text, digest)
  }

  /** Checks all tokens anew when they come again: the keys behind them may have changed. */
  readonly forget = (): void => {
    this.#known = new Map()
  }

  async #check(token: string, digest: string): Promise<Caller> {
    // What is forgotten meanwhile must not be known again by keys from before.
    const known = this.#known
    const checker = typeOf(token) === SUBSCRIBER_TOKEN ? this.#subscriberTokens : this.#userTokens
    const caller = unexpired(await checker.check(token))
    if (known.size >= MAX_KNOWN) {
      for (const oldest of known.keys()) {
        known.delete(oldest)
        break
      }
    }
    known.set(digest, caller)
    return caller
  }
}

/** `typ` of a token's header; what it says has yet to be checked. */
function typeOf(token: string): string | undefined {
  try {
    return decodeProtectedHeader(token).typ
  } catch {
    throw unauthorized('the credential is neither an API key nor a token')
  }
}

function unexpired(caller: Caller): Caller {
  if (caller.expiresAt !== null && caller.expiresAt <= Date.now()) throw unauthorized('the token has expired')
  return caller
}

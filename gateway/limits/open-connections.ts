// How many connections stay open, as event streams and requests that wait for a task do: of this gateway, of one
// caller and of one address.

import { type ErrorCode, MillraceError } from '../../shared/errors.ts'
import { isLoopbackHost } from '../../shared/forbidden-addresses.ts'
import type { Client } from './clients.ts'

/** How many there may be; 0 of a caller or an address = any number. */
export interface OpenConnectionLimits {
  readonly inAll: number
  readonly ofCaller: number
  readonly ofAddress: number
}

/** Label of `millrace_connections_refused_total`. */
type Refusal = 'gateway' | 'caller' | 'address'

const REFUSALS: Readonly<Record<Refusal, readonly [ErrorCode, string]>> = {
  gateway: ['gateway-full', 'the gateway has no room for another stream or wait'],
  caller: ['too-many-connections', 'the caller has as many streams and waits open here as it may'],
  address: ['too-many-connections', 'its address has as many streams and waits open here as it may'],
}

export class OpenConnections {
  readonly #limits: OpenConnectionLimits
  readonly #onRefused: (refusal: Refusal) => void
  readonly #ofCaller = new Map<string, number>()
  readonly #ofAddress = new Map<string, number>()
  #inAll = 0

  constructor(limits: OpenConnectionLimits, onRefused: (refusal: Refusal) => void) {
    this.#limits = limits
    this.#onRefused = onRefused
  }

  /** Throws `gateway-full` or `too-many-connections` where a client can't have another one. */
  admit(client: Client): void {
    const refusal = this.#refusalFor(client)
    if (refusal === null) return
    this.#onRefused(refusal)
    throw new MillraceError(...REFUSALS[refusal])
  }

  /** Counts one that was admitted in this turn. */
  add({ caller, address }: Client): void {
    this.#inAll++
    if (caller !== null) change(this.#ofCaller, caller, 1)
    change(this.#ofAddress, address, 1)
  }

  remove({ caller, address }: Client): void {
    this.#inAll--
    if (caller !== null) change(this.#ofCaller, caller, -1)
    change(this.#ofAddress, address, -1)
  }

  #refusalFor({ caller, address }: Client): Refusal | null {
    const { inAll, ofCaller, ofAddress } = this.#limits
    const isFull = (counts: Map<string, number>, key: string, limit: number) =>
      limit > 0 && (counts.get(key) ?? 0) >= limit
    if (this.#inAll >= inAll) return 'gateway'
    if (caller !== null && isFull(this.#ofCaller, caller, ofCaller)) return 'caller'
    // Of this machine are its own processes, and proxies that were not named: no client.
    if (isFull(this.#ofAddress, address, ofAddress) && !isLoopbackHost(address)) return 'address'
    return null
  }
}

/** Keeps no key that counts nothing. */
function change(counts: Map<string, number>, key: string, by: 1 | -1): void {
  const count = (counts.get(key) ?? 0) + by
  if (count > 0) counts.set(key, count)
  else counts.delete(key)
}

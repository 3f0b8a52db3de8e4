// The address of the client behind a request, which limits go by. A client can write what it likes into
// `X-Forwarded-For`, so that header is believed only from proxies that the operator names (MILLRACE_TRUSTED_PROXIES).

import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import ipaddr from 'ipaddr.js'
import { StartupError } from '../../shared/startup-error.ts'

type Address = ipaddr.IPv4 | ipaddr.IPv6

/** What is read of a request. */
type Addressed = Pick<IncomingMessage, 'headers'> & {
  readonly socket: { readonly remoteAddress?: string | undefined }
}

/** Of a client that left before its address was asked for. */
const UNKNOWN = 'unknown'

export class ClientAddresses {
  readonly #trusted: readonly [Address, number][]

  /**
   * Reads comma-separated addresses and ranges in CIDR notation. Throws a StartupError that names the variable and the
   * entry that is wrong.
   */
  constructor(trustedProxies: string) {
    this.#trusted = trustedProxies
      .split(',')
      .map(entry => entry.trim())
      .filter(entry => entry !== '')
      .map(parseRange)
  }

  /**
   * The client's IPv4 address, or the /64 of its IPv6 address, since that is what one customer of a provider has.
   * Each proxy appends the address that it saw, so the header is read from its end, up to the first address that is no
   * trusted proxy; what stands before that is a claim of the client's.
   */
  of({ socket, headers }: Addressed): string {
    let address = parseAddress(socket.remoteAddress ?? '')
    if (address === null) return UNKNOWN
    if (this.#trusts(address)) {
      const hops = String(headers['x-forwarded-for'] ?? '').split(',')
      for (let i = hops.length - 1; i >= 0 && this.#trusts(address); i--) {
        const hop = parseAddress(withoutPort(hops[i]!.trim()))
        if (hop === null) break
        address = hop
      }
    }
    return networkOf(address)
  }

  #trusts(address: Address): boolean {
    return this.#trusted.some(
      ([range, bits]) => range.kind() === address.kind() && address.match(range, bits),
    )
  }
}

function parseRange(entry: string): [Address, number] {
  const [text = '', bits = ''] = entry.split('/')
  const address = parseAddress(text)
  const whole = address?.kind() === 'ipv4' ? 32 : 128
  const length = entry.includes('/') ? (/^\d{1,3}$/.test(bits) ? Number(bits) : Number.NaN) : whole
  if (address === null || !(length <= whole) || entry.split('/').length > 2) {
    throw new StartupError(
      `MILLRACE_TRUSTED_PROXIES: "${entry}" is not an address or a range such as 10.0.0.0/8`,
    )
  }
  return [address, length]
}

/** An IPv4 address that comes as IPv6 (`::ffff:10.0.0.1`, as on a socket that takes both) is an IPv4 address. */
function parseAddress(text: string): Address | null {
  // The library also takes forms that nobody sends, such as `0x7f.1`.
  return isIP(text) === 0 ? null : ipaddr.process(text)
}

/** Some proxies append the client's port: `192.0.2.1:4711`, `[2001:db8::1]:4711`. */
function withoutPort(hop: string): string {
  return /^\[(.+)\](?::\d+)?$/.exec(hop)?.[1] ?? /^([\d.]+):\d+$/.exec(hop)?.[1] ?? hop
}

function networkOf(address: Address): string {
  if (address.kind() === 'ipv4' || address.range() === 'loopback') return address.toString()
  const { parts } = address as ipaddr.IPv6
  return `${parts
    .slice(0, 4)
    .map(part => part.toString(16))
    .join(':')}::/64`
}

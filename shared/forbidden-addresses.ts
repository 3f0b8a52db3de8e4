// Which resolved addresses an outgoing request may never connect to, whatever name led there.
// Private ranges are not among them: the operator listed the host, and internal services are what lists are for.

import { BlockList, isIP } from 'node:net'

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

// Ranges from the IANA special-purpose registries, and the metadata services of clouds that lie outside them.
const FORBIDDEN_IPV4: readonly (readonly [net: string, prefix: number])[] = [
  ['0.0.0.0', 8], // "this host": Linux connects to loopback
  ['100.100.100.200', 32], // metadata of Alibaba Cloud
  ['168.63.129.16', 32], // the host's services of Azure
  ['169.254.0.0', 16], // link-local, cloud metadata
  ['192.0.0.0', 24], // protocol assignments, metadata of Oracle Cloud
  ['224.0.0.0', 4], // multicast
  ['240.0.0.0', 4], // reserved, broadcast
]

// BlockList sees through ::ffff:a.b.c.d by itself, but not that NAT64 carries an IPv4 address in its last 32 bits.
const forbidden = new BlockList()
for (const [net, prefix] of FORBIDDEN_IPV4) {
  forbidden.addSubnet(net, prefix, 'ipv4')
  forbidden.addSubnet(`64:ff9b::${net}`, 96 + prefix, 'ipv6')
}
forbidden.addSubnet('64:ff9b::127.0.0.0', 104, 'ipv6')
forbidden.addAddress('::', 'ipv6')
forbidden.addSubnet('fe80::', 10, 'ipv6') // link-local
forbidden.addSubnet('ff00::', 8, 'ipv6') // multicast
forbidden.addSubnet('fd00:ec2::', 32, 'ipv6') // metadata and other services of AWS
forbidden.addAddress('fd20:ce::254', 'ipv6') // metadata of Google Cloud

/** True for an address that no target may have, and for loopback unless the host was named as loopback. */
export function isForbiddenAddress(address: string, loopbackAllowed: boolean): boolean {
  const plain = address.replace(/%.*$/, '') // the zone of fe80::1%eth0
  const version = isIP(plain)
  if (version === 0) return true
  const family = version === 4 ? 'ipv4' : 'ipv6'
  return forbidden.check(plain, family) || (loopback.check(plain, family) && !loopbackAllowed)
}

/** Whether a URL's host says by itself that loopback is meant: `localhost`, 127.0.0.0/8 or [::1]. */
export function isLoopbackHost(hostname: string): boolean {
  if (hostname === 'localhost' || hostname.endsWith('.localhost')) return true
  const address = hostname.replace(/^\[|\]$/g, '')
  const version = isIP(address)
  return version !== 0 && loopback.check(address, version === 4 ? 'ipv4' : 'ipv6')
}

// Which resolved addresses an outgoing request may never connect to, whatever name led there.
// Private ranges are not among them: the operator listed the host, and internal services are what lists are for.

import { BlockList, isIP } from 'node:net'

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

// Ranges from the IANA special-purpose registries. A NAT64 prefix carries an IPv4 address in its last 32 bits,
// so the ranges that matter are listed again behind it. BlockList sees through ::ffff:a.b.c.d by itself.
const forbidden = new BlockList()
forbidden.addSubnet('0.0.0.0', 8, 'ipv4') // "this host": Linux connects to loopback
forbidden.addSubnet('169.254.0.0', 16, 'ipv4') // link-local, cloud metadata
forbidden.addSubnet('224.0.0.0', 4, 'ipv4') // multicast
forbidden.addSubnet('240.0.0.0', 4, 'ipv4') // reserved, broadcast
forbidden.addAddress('::', 'ipv6')
forbidden.addSubnet('fe80::', 10, 'ipv6') // link-local
forbidden.addSubnet('ff00::', 8, 'ipv6') // multicast
forbidden.addAddress('fd00:ec2::254', 'ipv6') // metadata of AWS
forbidden.addAddress('fd20:ce::254', 'ipv6') // metadata of Google Cloud
forbidden.addSubnet('64:ff9b::', 104, 'ipv6') // NAT64 of 0.0.0.0/8
forbidden.addSubnet('64:ff9b::7f00:0', 104, 'ipv6') // NAT64 of loopback
forbidden.addSubnet('64:ff9b::a9fe:0', 112, 'ipv6') // NAT64 of link-local

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

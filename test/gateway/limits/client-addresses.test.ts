import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { ClientAddresses } from '../../../gateway/limits/client-addresses.ts'

const of = (trusted: string, remoteAddress: string, forwarded?: string) =>
  new ClientAddresses(trusted).of({
    socket: { remoteAddress },
    headers: forwarded === undefined ? {} : { 'x-forwarded-for': forwarded },
  })

describe("a client's address", () => {
  test.each([
    ['nobody is trusted', '', '10.0.0.1', '1.2.3.4', '10.0.0.1'],
    ['the peer is not', '10.0.0.2', '10.0.0.1', '1.2.3.4', '10.0.0.1'],
    ['the peer is, by address', '10.0.0.1', '10.0.0.1', '1.2.3.4', '1.2.3.4'],
    ['the peer is, by range', '192.168.0.0/16,10.0.0.0/8', '10.9.9.9', '1.2.3.4', '1.2.3.4'],
    ['the client forges others', '10.0.0.0/8', '10.0.0.1', '6.6.6.6, 10.0.0.7, 1.2.3.4', '1.2.3.4'],
    ['there are two proxies', '10.0.0.0/8', '10.0.0.1', '6.6.6.6, 1.2.3.4, 10.0.0.2', '1.2.3.4'],
    ['all are proxies', '10.0.0.0/8', '10.0.0.1', '10.0.0.3, 10.0.0.2', '10.0.0.3'],
    ['the proxy says nothing', '10.0.0.1', '10.0.0.1', undefined, '10.0.0.1'],
    ['the proxy says nonsense', '10.0.0.1', '10.0.0.1', '1.2.3.4, unknown', '10.0.0.1'],
    ['the proxy says an odd form', '10.0.0.1', '10.0.0.1', '0x7f.1', '10.0.0.1'],
    ['the proxy says a port', '10.0.0.1', '10.0.0.1', '6.6.6.6, 1.2.3.4:4711', '1.2.3.4'],
    ['the proxy says a port of IPv6', '10.0.0.1', '10.0.0.1', '[2001:db8::1]:4711', '2001:db8:0:0::/64'],
    ['it comes as IPv6', '', '::ffff:1.2.3.4', undefined, '1.2.3.4'],
    ['the peer comes as IPv6', '10.0.0.1', '::ffff:10.0.0.1', '::ffff:1.2.3.4', '1.2.3.4'],
    ['the range is of IPv6', 'fd00::/8', 'fd12::1', '2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['it is of this machine', '', '::1', undefined, '::1'],
    ['it has left', '', '', '1.2.3.4', 'unknown'],
  ])('when %s', (_, trusted, peer, forwarded, address) => {
    expect(of(trusted, peer, forwarded)).toBe(address)
  })

  test('is the same in all of its /64, and another in the next', () => {
    const inside = ['2001:db8:1:2::', '2001:db8:1:2:ffff:ffff:ffff:ffff', '2001:0DB8:1:2::9%eth0']
    expect(new Set(inside.map(address => of('', address)))).toEqual(new Set(['2001:db8:1:2::/64']))
    expect(of('', '2001:db8:1:3::')).toBe('2001:db8:1:3::/64')
  })

  test('is what the trusted proxy saw, whatever the client sends', () => {
    const claim = fc.oneof(fc.string(), fc.ipV4(), fc.ipV6(), fc.constant('10.0.0.1'))
    fc.assert(
      fc.property(fc.array(claim), claims => {
        const forwarded = [...claims, '203.0.113.7'].join(', ')
        expect(of('10.0.0.0/8', '10.0.0.1', forwarded)).toBe('203.0.113.7')
        expect(of('', '10.0.0.1', forwarded)).toBe('10.0.0.1')
      }),
    )
  })
})

test.each([
  '10.0.0.0/33',
  '10.0.0.0/',
  '10.0.0.0/8/8',
  '10.0.0',
  'loopback',
  '::/129',
  '0x7f.1',
  '1.2.3.4/-1',
])('MILLRACE_TRUSTED_PROXIES=%s is refused', text => {
  expect(() => new ClientAddresses(`127.0.0.1, ${text}`)).toThrow(
    `MILLRACE_TRUSTED_PROXIES: "${text}" is not an address or a range such as 10.0.0.0/8`,
  )
})

// Answers of JSON: whichever way one is sent, it is the same on the wire.

import { once } from 'node:events'
import { createServer, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { connect } from 'node:net'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import type { Context } from 'koa'
import { answerJson } from '../../../gateway/http/answer.ts'

const VALUES: Readonly<Record<string, unknown>> = {
  '/ascii': { ids: ['1-1'] },
  '/text': { text: 'Grüße, 世界 🌍, \ud800' },
  '/large': { text: 'ä'.repeat(300_000) },
  '/empty': '',
}

const isAtOnce: boolean[] = []

const server = createServer((req, res) => {
  const end = res.end.bind(res)
  // Head and body in one string leave with an end that has no body of its own.
  res.end = ((...args: []) => {
    isAtOnce.push(args.length === 0)
    return end(...args)
  }) as typeof res.end
  const [path = '', way] = (req.url ?? '').split('?')
  // A header that was set before has to go with the others, which Node does by itself.
  if (way === 'by-node') res.setHeader('X-Before', '1')
  const ctx = { req, res, state: { requestId: 'id' } } as unknown as Context
  const headers = { Location: path === '/broken' ? 'a\r\nSet-Cookie: b' : path }
  try {
    answerJson(ctx, 201, VALUES[path] ?? null, headers)
  } catch (error) {
    res.writeHead(500).end((error as NodeJS.ErrnoException).code)
  }
})

beforeAll(async () => {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
})
afterAll(async () => {
  server.close()
  await once(server, 'close')
})

/** What comes for these requests until the server closes; headers in any order, without those that tell the two ways apart. */
async function exchange(...requests: string[]): Promise<unknown> {
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  socket.setEncoding('latin1').write(requests.join(''))
  let text = ''
  socket.on('data', chunk => {
    text += chunk
  })
  await once(socket, 'close')
  return text
    .replace(/^X-Before: .*\r\n/gm, '')
    .replace(
      /^Date: (.*)\r\n/gm,
      (_, date) => `Date: ${Number.isNaN(Date.parse(date)) ? date : 'a date'}\r\n`,
    )
    .split('\r\n\r\n')
    .map(part => part.split('\r\n').sort())
}

const get = (path: string, more = '', version = '1.1') =>
  `GET ${path} HTTP/${version}\r\nHost: a\r\n${more}\r\n`
const CLOSE = 'Connection: close\r\n'

test.each(Object.keys(VALUES))('%s is the same in one string as head and body by themselves', async path => {
  isAtOnce.length = 0
  const requests = (way: string) => [get(path + way), get(path + way, CLOSE)]
  expect(await exchange(...requests(''))).toEqual(await exchange(...requests('?by-node')))
  expect(isAtOnce).toEqual([true, true, false, false])
})

test('so it is for a client of HTTP/1.0, with and without keep-alive', async () => {
  const requests = (way: string) => [
    get(`/text${way}`, 'Connection: keep-alive\r\n', '1.0'),
    get(`/text${way}`, '', '1.0'),
  ]
  expect(await exchange(...requests(''))).toEqual(await exchange(...requests('?by-node')))
})

test('an answer to HEAD has no body', async () => {
  const text = JSON.stringify(await exchange(`HEAD /ascii HTTP/1.1\r\nHost: a\r\n${CLOSE}\r\n`))
  expect(text).toContain('Content-Length: 15')
  expect(text).not.toContain('ids')
})

test('who waits for a 100 before the body does not keep the connection without one', async () => {
  const requests = (way: string) => [get(`/ascii${way}`, `Expect: 100-continue\r\n${CLOSE}`)]
  expect(await exchange(...requests(''))).toEqual(await exchange(...requests('?by-node')))
})

test('a line break in a header is refused, and nothing of it is sent', async () => {
  expect(JSON.stringify(await exchange(get('/broken', CLOSE)))).toMatch(/500.*ERR_INVALID_CHAR/)
})

test('where the inside of Node is another one, answers are sent as ever', async () => {
  const prototype = ServerResponse.prototype as unknown as { _storeHeader: unknown }
  const inside = Object.getOwnPropertyDescriptor(prototype, '_storeHeader')
  const storeHeader = prototype._storeHeader
  let calls = 0
  Object.defineProperty(prototype, '_storeHeader', {
    configurable: true,
    // The first look is ours, the second one Node's own.
    get: () => (calls++ % 2 === 0 ? undefined : storeHeader),
  })
  try {
    isAtOnce.length = 0
    expect(JSON.stringify(await exchange(get('/ascii', CLOSE)))).toMatch(/201 Created.*ids/)
    expect(isAtOnce).toEqual([false])
  } finally {
    if (inside) Object.defineProperty(prototype, '_storeHeader', inside)
    else delete (prototype as Partial<typeof prototype>)._storeHeader
  }
})

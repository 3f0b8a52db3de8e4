// A storm of viewers that come back at once, each from another place: what it asks of Redis.

import { connect, type Socket } from 'node:net'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { Redis } from 'ioredis'
import { startGateway, type TestGateway } from '../support/processes.ts'
import { startRedis, type TestRedis } from '../support/redis.ts'

const VIEWERS = 5_000
const EVENTS = 1_000
/** Events that one read of the log brings. */
const PAGE = 128
const PAGES = Math.ceil(EVENTS / PAGE)

/** Comparisons of heads, which come by the clock, read too. */
const OTHER_READS = 4

const sockets: Socket[] = []
let server: TestRedis
let redis: Redis
let gateway: TestGateway

beforeAll(async () => {
  server = await startRedis()
  redis = new Redis(server.url)
  gateway = await startGateway({ redisUrl: server.url, env: { MILLRACE_DRAIN_MS: '0' } })
})

afterAll(async () => {
  for (const socket of sockets) socket.destroy()
  redis.disconnect()
  await gateway.stop()
  await server.close()
})

/** Comes back after an event; resolves with whether it then saw each number up to the last once and in order. */
function resume(url: URL, cursor: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port: Number(url.port), host: url.hostname })
    // None leaves before all are served: with its last viewer a channel is given up.
    sockets.push(socket)
    socket.write(
      `GET ${url.pathname} HTTP/1.0\r\nHost: a\r\nAccept: text/event-stream\r\nLast-Event-ID: ${cursor}\r\n\r\n`,
    )
    let text = ''
    socket.setEncoding('latin1').on('data', part => {
      text += part
      if (!text.includes(`-${EVENTS}\n`) || !text.endsWith('\n\n')) return
      let next = Number(cursor.split('-')[1]) + 1
      for (const [, seq] of text.matchAll(/^id: \d+-(\d+)$/gm)) if (Number(seq) !== next++) resolve(false)
      resolve(next === EVENTS + 1)
    })
    socket.on('error', reject)
  })
}

test('5,000 viewers that come back at once from anywhere have each page read once', async () => {
  const url = new URL(`${gateway.url}/v1/channels/storm/events`)
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(Array.from({ length: EVENTS }, (_, i) => ({ type: 'n', data: i + 1 }))),
  })
  const { ids } = (await response.json()) as { ids: string[] }
  // The script is known to Redis from here on, so that each read is one EVALSHA.
  await fetch(`${url}?limit=1`, { headers: { Accept: 'application/json' } })
  await redis.config('RESETSTAT')
  const exact = await Promise.all(
    Array.from({ length: VIEWERS }, (_, i) => resume(url, ids[(i * 7) % (EVENTS - 1)]!)),
  )
  expect(exact.filter(each => !each)).toHaveLength(0)
  const reads = Number(/cmdstat_evalsha:calls=(\d+)/.exec(await redis.info('commandstats'))?.[1])
  expect(reads).toBeGreaterThanOrEqual(PAGES)
  expect(reads).toBeLessThanOrEqual(PAGES + OTHER_READS)
})

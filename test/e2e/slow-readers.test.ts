// Readers that don't keep up: bounded on the gateway, never in the way of others, and still exact.

import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { startGateway, type TestGateway } from '../support/processes.ts'
import { startRedis, type TestRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { openViewer, type Viewer } from '../support/viewer.ts'

/** Far more than the kernel's socket buffers and the gateway's bound hold together. */
const EVENTS = 1_200
const BATCH = 50
const SMALL_BATCH = 10
const PADDING = 'x'.repeat(16_000)

let server: TestRedis
let gateway: TestGateway

beforeAll(async () => {
  server = await startRedis()
})

afterAll(async () => {
  await server.close()
})

const start = async (env: Record<string, string> = {}): Promise<void> => {
  gateway = await startGateway({ redisUrl: server.url, env: { MILLRACE_DRAIN_MS: '0', ...env } })
}

const url = (channel: string, query = '?from=earliest'): string =>
  `${gateway.url}/v1/channels/${channel}/events${query}`

async function publish(channel: string, from: number, count: number): Promise<void> {
  const events = Array.from({ length: count }, (_, i) => ({ type: 'n', data: { n: from + i, PADDING } }))
  const response = await fetch(url(channel, ''), {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(events),
  })
  expect(response.status).toBe(201)
}

async function publishAll(channel: string): Promise<void> {
  for (let n = 1; n <= EVENTS; n += BATCH) await publish(channel, n, BATCH)
}

function expectAll(viewer: Viewer): void {
  const numbers = viewer.events.map(event => (JSON.parse(event.data) as { n: number }).n)
  expect(numbers).toEqual(Array.from({ length: EVENTS }, (_, i) => i + 1))
}

async function metric(name: string): Promise<number> {
  const text = await (await fetch(`${gateway.opsUrl}/metrics`)).text()
  const line = text.split('\n').find(each => each.startsWith(`${name} `))
  return Number(line?.slice(name.length + 1) ?? 0)
}

describe('a reader that does not keep up', () => {
  test('is switched to reading from the log, gets everything in order, and does not hold up others', async () => {
    await start()
    const channel = randomUUID()
    const slow = await openViewer(url(channel))
    const quick = await openViewer(url(channel))
    // With the first event both are live: only then is what follows too much, not a long way from the start.
    await publish(channel, 1, 1)
    for (const viewer of [slow, quick]) await viewer.until(({ events }) => events.length === 1)
    slow.pause()
    // No faster than a viewer takes it: what outgrows the gateway's memory is a hole for every viewer.
    for (let n = 2; n <= EVENTS; n += SMALL_BATCH) {
      await publish(channel, n, Math.min(SMALL_BATCH, EVENTS + 1 - n))
      await quick.until(({ events }) => events.length === Math.min(n + SMALL_BATCH - 1, EVENTS))
    }
    expect(await metric('millrace_catchups_total{reason="slow"}')).toBeGreaterThan(0)
    slow.resume()
    await slow.until(({ events }) => events.length === EVENTS)
    expectAll(slow)
    expectAll(quick)
    slow.cut()
    quick.cut()
    await gateway.stop()
  })

  test('and takes nothing at all is closed for being slow, and may resume', async () => {
    await start({ MILLRACE_WRITE_TIMEOUT_MS: '300' })
    const channel = randomUUID()
    const viewer = await openViewer(url(channel))
    viewer.pause()
    await publishAll(channel)
    await until(
      'the stuck viewer is closed',
      async () => (await metric('millrace_sse_connections_closed_total{reason="slow"}')) === 1,
    )
    expect(await metric('millrace_sse_connections')).toBe(0)
    viewer.resume()
    expect(await viewer.done).toBe('broken')
    await viewer.connect(url(channel))
    await viewer.until(({ events }) => events.length >= EVENTS)
    expectAll(viewer)
    viewer.cut()
    await gateway.stop()
  })
})

test('a connection ends at its age and resumes without a hole', async () => {
  await start({ MILLRACE_MAX_CONNECTION_AGE_MS: '1000', MILLRACE_HEARTBEAT_MS: '200' })
  const channel = randomUUID()
  const viewer = await openViewer(url(channel))
  await publish(channel, 1, 1)
  expect(await viewer.done).toBe('ended')
  expect(await metric('millrace_sse_connections_closed_total{reason="age"}')).toBe(1)
  await publish(channel, 2, 1)
  await viewer.connect(url(channel))
  await viewer.until(({ events }) => events.length === 2)
  viewer.cut()
  await gateway.stop()
})

test('a full gateway refuses further streams, and says when to come again', async () => {
  await start({ MILLRACE_MAX_CONNECTIONS: '2' })
  const viewers = [await openViewer(url('a')), await openViewer(url('a'))]
  const refused = await fetch(url('a'))
  expect(refused.status).toBe(503)
  expect(refused.headers.get('retry-after')).toBe('1')
  expect(await refused.json()).toMatchObject({ code: 'gateway-full' })
  viewers[0]?.cut()
  await until('there is room again', async () => (await metric('millrace_sse_connections')) === 1)
  const next = await openViewer(url('a'))
  expect(next.status).toBe(200)
  next.cut()
  viewers[1]?.cut()
  await gateway.stop()
})

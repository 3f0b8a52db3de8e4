// The demo feeds on real workers that die.

import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals'
import { Redis } from 'ioredis'
import { call } from '../support/http.ts'
import { startGateway, startWorker, type TestGateway, type TestProcess } from '../support/processes.ts'
import { startRedis, type TestRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'

const ON = { MILLRACE_DEMO: 'on' }

let server: TestRedis
let redis: Redis
let gateway: TestGateway

beforeAll(async () => {
  server = await startRedis()
  redis = new Redis(server.url)
  gateway = await startGateway({ redisUrl: server.url })
})
afterAll(async () => {
  redis.disconnect()
  await server.close()
})
const running = new Set<TestProcess>()

beforeEach(() => redis.flushall())
afterEach(async () => {
  await Promise.all([...running].map(one => one.kill()))
  running.clear()
})

async function worker(env: Record<string, string> = ON): Promise<TestProcess> {
  const started = await startWorker({ redisUrl: server.url, env })
  running.add(started)
  return started
}

interface Event {
  id: string
  type: string
  // biome-ignore lint/suspicious/noExplicitAny: whatever a feed tells
  data: any
}

const demoKeys = () => redis.keys('*{demo:*')

async function events(channel: string): Promise<Event[]> {
  const { status, body } = await call(`${gateway.url}/v1/channels/${channel}/events?limit=500`, {
    headers: { Accept: 'application/json' },
  })
  expect(status).toBe(200)
  return body.events
}
const reached = (channel: string, count: number) =>
  until(`${count} events of ${channel}`, async () => {
    const all = await events(channel)
    return all.length >= count && all
  })

test('feeds count on without a double or a hole while workers are killed', async () => {
  const workers = await Promise.all([worker(), worker(), worker()])
  let ticks = (await reached('demo:counter', 2)).length
  for (const victim of workers) {
    const other = worker()
    await victim.kill()
    await other
    ticks = (await reached('demo:counter', ticks + 2)).length
  }
  const counter = await events('demo:counter')
  expect(counter.map(({ data }) => data.count)).toEqual(counter.map((_, i) => i + 1))
  expect(counter.map(({ id }) => Number(id.split('-')[1]))).toEqual(counter.map((_, i) => i + 1))

  const named = await events('demo:named')
  expect(named.map(({ type }) => type)).toEqual(named.map((_, i) => (i % 2 === 0 ? 'counter' : 'clock')))
  const counted = named.filter(({ type }) => type === 'counter')
  expect(counted.map(({ data }) => data.count)).toEqual(counted.map((_, i) => i + 1))

  const [first, ...prices] = await events('demo:stock:GRAIN')
  expect(first?.data).toMatchObject({ symbol: 'GRAIN', change: 0, changePercent: 0 })
  expect(prices.length).toBeGreaterThan(5)
  for (const { type, data } of prices) {
    expect(type).toBe('price')
    // One walk, whoever goes its steps.
    expect(Math.abs(data.changePercent)).toBeLessThan(5)
  }
})

test('there are no feeds where the demo is off, and none are left where it was on', async () => {
  const off = await worker({})
  expect(await redis.keys('{mr}:feeds*')).toEqual([])
  expect(await demoKeys()).toEqual([])

  const on = await worker()
  await reached('demo:counter', 2)
  expect(await on.stop()).toBe(0)
  await worker({ MILLRACE_DEMO: 'off' })
  await until('no queue of feeds', async () => (await redis.keys('{mr}:feeds*')).length === 0)
  expect(await off.stop()).toBe(0)
})

// The demo feeds on real workers that die.

import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals'
import { Redis } from 'ioredis'
import { call } from '../support/http.ts'
import { startGateway, startWorker, type TestGateway, type TestProcess } from '../support/processes.ts'
import { startRedis, type TestRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { openViewer } from '../support/viewer.ts'

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

async function tellingGateway(): Promise<TestGateway> {
  const started = await startGateway({ redisUrl: server.url, env: ON })
  running.add(started)
  return started
}

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

const samplesOf = async (pid: number) => (await events('demo:system')).filter(({ data }) => data.pid === pid)
const sampled = (pid: number, count: number) =>
  until(`${count} samples of ${pid}`, async () => {
    const samples = await samplesOf(pid)
    return samples.length >= count && samples
  })

test('each gateway and worker tells of itself until it ends, and one of the queue', async () => {
  const shown = await tellingGateway()
  const [one, other] = await Promise.all([worker(), worker()])
  await openViewer(`${shown.url}/v1/channels/demo:named/events`)
  const idle = { type: 'countdown', input: { steps: 1, intervalMs: 60_000 } }
  for (let i = 0; i < 3; i++) await call(`${gateway.url}/v1/tasks`, { body: idle })

  const about = { cpu: expect.any(Number), memoryBytes: expect.any(Number), time: expect.any(Number) }
  const ofGateway = await until('a sample of a gateway with a viewer', async () =>
    (await samplesOf(shown.pid)).find(({ data }) => data.eventsPerSecond > 0),
  )
  expect(ofGateway).toMatchObject({ type: 'gateway', data: { ...about, connections: 1 } })
  expect(ofGateway.data.name).toMatch(new RegExp(`^.+-${shown.pid}$`))
  expect(ofGateway.data.cpu).toBeGreaterThan(0)
  expect(ofGateway.data.memoryBytes).toBeGreaterThan(10_000_000)
  await until('samples of both workers that know of three tasks', async () => {
    const last = await Promise.all([one, other].map(async ({ pid }) => (await samplesOf(pid)).at(-1)))
    return last.reduce((sum, sample) => sum + (sample?.data.tasksRunning ?? 0), 0) === 3
  })
  const [ofWorker] = await sampled(one.pid, 1)
  expect(ofWorker).toMatchObject({ type: 'worker', data: about })
  await until('a sample of the queue', async () =>
    (await events('demo:system')).some(({ type, data }) => type === 'queue' && data.active === 3),
  )

  await one.kill()
  await shown.stop()
  const before = [await samplesOf(one.pid), await samplesOf(shown.pid)]
  await sampled(other.pid, (await samplesOf(other.pid)).length + 2)
  expect([await samplesOf(one.pid), await samplesOf(shown.pid)]).toEqual(before)
})

test('samples and feeds go on when Redis is back', async () => {
  const shown = await tellingGateway()
  const { pid } = await worker()
  await Promise.all([sampled(pid, 1), sampled(shown.pid, 1), reached('demo:counter', 2)])
  await server.kill()
  await server.restart()
  const [ofWorker, ofGateway, counts] = await until('Redis', () =>
    Promise.all([samplesOf(pid), samplesOf(shown.pid), events('demo:counter')]).catch(() => null),
  )
  await sampled(pid, ofWorker.length + 1)
  await sampled(shown.pid, ofGateway.length + 1)
  const counter = await reached('demo:counter', counts.length + 2)
  expect(counter.map(({ data }) => data.count)).toEqual(counter.map((_, i) => i + 1))
  expect(await shown.stop()).toBe(0)
})

test('there are no feeds where the demo is off, and none are left where it was on', async () => {
  const off = await worker({})
  expect(await redis.keys('{mr}:feeds*')).toEqual([])
  expect(await demoKeys()).toEqual([])

  const on = await worker()
  await sampled(on.pid, 2)
  expect([await samplesOf(off.pid), await samplesOf(gateway.pid)]).toEqual([[], []])
  await on.kill()
  await worker({ MILLRACE_DEMO: 'off' })
  await until('no queue of feeds', async () => (await redis.keys('{mr}:feeds*')).length === 0)
  expect(await off.stop()).toBe(0)
})

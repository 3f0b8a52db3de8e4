import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { Queue, Worker } from 'bullmq'
import { eventData } from '../../../shared/event.ts'
import { FEED_QUEUE_NAME, feedKey, logKey, QUEUE_PREFIX } from '../../../shared/keys.ts'
import { connectRedis } from '../../../shared/redis-connection.ts'
import { RedisEventLog } from '../../../shared/redis-event-log.ts'
import { dueAtOf } from '../../../shared/schedules.ts'
import { counter } from '../../../worker/demo/counter.ts'
import { DemoSchedules, removeDemoSchedules } from '../../../worker/demo/demo-schedules.ts'
import { advance } from '../../../worker/demo/feed.ts'
import { feedSchedule } from '../../../worker/demo/feeds.ts'
import { START_PRICES, stocks } from '../../../worker/demo/stocks.ts'
import { until } from '../../support/until.ts'
import { type Broker, silent, startBroker } from '../worker-fixture.ts'

const EVERY_MS = 100
const KEPT_MS = 60_000
const QUEUE_KEYS = `${QUEUE_PREFIX}:${FEED_QUEUE_NAME}*`

let broker: Broker
const stops: (() => Promise<void>)[] = []

beforeAll(async () => {
  broker = await startBroker()
})
afterAll(() => broker.close())
beforeEach(() => broker.redis.flushall())
afterEach(stopAll)

async function stopAll(): Promise<void> {
  await Promise.all(stops.splice(0).map(stop => stop()))
}

const connect = () => connectRedis(broker.server.url, 'worker', silent)

const tick = (dueAt: number, log: RedisEventLog = broker.log) => advance(log, counter, dueAt, KEPT_MS)

/** The counter's part of a worker, on a connection of its own, at ten ticks a second. */
function startTicks(): void {
  const redis = connect()
  const log = new RedisEventLog(redis, { channels: { maxEvents: 1_000, ttlMs: KEPT_MS }, taskMaxEvents: 1 })
  const schedule = { id: 'fast', everyMs: EVERY_MS, tick: (dueAt: number) => tick(dueAt, log) }
  const demo = new DemoSchedules({ redis, schedules: [schedule], log: silent })
  demo.start()
  stops.push(async () => {
    await demo.stop()
    redis.disconnect()
  })
}

/** Takes the next tick as a worker does that then dies. */
async function takeAndDie() {
  const redis = connect()
  const worker = new Worker(FEED_QUEUE_NAME, null, {
    connection: redis,
    prefix: QUEUE_PREFIX,
    autorun: false,
    lockDuration: 100,
  })
  const job = await until('a tick that is due', () => worker.getNextJob(randomUUID()))
  await worker.close()
  redis.disconnect()
  return job
}

/** Takes the next tick out of the queue: the scheduler's id, and when it is due. */
async function nextTick(): Promise<string[]> {
  // It may have come due while the last worker stopped.
  expect(await broker.redis.del('{mr}:feeds:delayed', '{mr}:feeds:wait')).toBe(1)
  return broker.redis.zrange('{mr}:feeds:repeat', '0', '-1', 'WITHSCORES')
}

async function counts(): Promise<number[]> {
  const { events } = await broker.log.readPage(counter.channel, 'earliest')
  return events.map(event => (eventData(event) as { count: number }).count)
}
const counted = (length: number) =>
  until(`${length} counts`, async () => {
    const all = await counts()
    return all.length >= length && all
  })
const oneTo = (n: number) => Array.from({ length: n }, (_, i) => i + 1)

describe('a tick', () => {
  test('appends nothing when it is run again, or after a later one', async () => {
    await tick(1_000)
    await tick(1_000)
    await tick(3_000)
    await tick(2_000)
    expect(await counts()).toEqual([1, 2])
  })

  test('is appended once when ten workers run it at once', async () => {
    await Promise.all(Array.from({ length: 10 }, () => tick(1_000)))
    expect(await counts()).toEqual([1])
  })

  test('finds its place among others that run at once, or is overtaken', async () => {
    await Promise.all(Array.from({ length: 10 }, (_, i) => tick(1_000 + i)))
    const all = await counts()
    expect(all).toEqual(oneTo(all.length))
    expect(JSON.parse((await broker.redis.get(feedKey(counter.channel))) ?? '')).toEqual({
      dueAt: 1_009,
      value: all.length,
    })
  })

  test('brings every feed on, two types of event in one append, and keeps ten minutes of them', async () => {
    const channels = { maxEvents: 10_000, ttlMs: KEPT_MS }
    const { tick } = feedSchedule(broker.redis, { channels, taskMaxEvents: 1 })
    const earlier = counter.events(0, 0)
    await broker.log.append(counter.channel, Array(700).fill(earlier).flat())
    for (let dueAt = 1; dueAt <= 3; dueAt++) await tick(dueAt)
    expect(await broker.redis.xlen(logKey('demo:counter'))).toBe(600)
    expect(await broker.redis.pttl(logKey('demo:counter'))).toBeGreaterThan(0)
    expect(await broker.redis.pttl(feedKey('demo:counter'))).toBeGreaterThan(0)

    const named = (await broker.log.readPage('demo:named', 'earliest')).events.slice(-2)
    expect(named.map(event => [event.type, eventData(event)])).toEqual([
      ['counter', { count: 3 }],
      ['clock', { time: named[1]?.time }],
    ])
    for (const symbol of Object.keys(START_PRICES))
      expect(await broker.redis.xlen(logKey(`demo:stock:${symbol}`))).toBe(3)
  })
})

test('a stock begins at its start, walks in cents and tells how far it has come', () => {
  for (const [i, [symbol, start]] of Object.entries(START_PRICES).entries()) {
    const stock = stocks[i]!
    let price = stock.next(null)
    expect(price).toBe(start)
    const seen = new Set([price])
    for (let n = 0; n < 1_000; n++) {
      price = stock.next(price)
      seen.add(price)
    }
    expect(seen.size).toBeGreaterThan(10)
    expect([...seen].filter(seenPrice => !/^\d+(\.\d{1,2})?$/.test(String(seenPrice)))).toEqual([])
    const [event] = stock.events(start * 2, 7)
    expect(event).toMatchObject({ type: 'price', time: 7 })
    expect(JSON.parse(event?.data ?? '')).toMatchObject({
      symbol,
      change: start,
      changePercent: 100,
      time: 7,
    })
    expect(stock.next(0.01)).toBeGreaterThan(0)
  }
})

describe('the ticks of a schedule', () => {
  test('are one each with ten workers', async () => {
    for (let i = 0; i < 10; i++) startTicks()
    const all = await counted(20)
    expect(all).toEqual(oneTo(all.length))
    expect(await broker.redis.zcard('{mr}:feeds:delayed')).toBeLessThanOrEqual(1)
  })

  test.each([
    ['before', false],
    ['after', true],
  ])('go on in order when a worker dies %s it has appended one', async (_, hasAppended) => {
    startTicks()
    await counted(2)
    await stopAll()
    const job = await takeAndDie()
    if (hasAppended) await tick(dueAtOf(job))
    const before = (await counts()).length
    for (let i = 0; i < 3; i++) startTicks()
    await counted(before + 3)
    await until('the tick of the dead worker to be over', async () => {
      return !(await broker.redis.exists(`{mr}:feeds:${job.id}`))
    })
    const all = await counts()
    expect(all).toEqual(oneTo(all.length))
  })

  test('go on after all workers were away: one late tick, and no burst', async () => {
    startTicks()
    await counted(2)
    await stopAll()
    const before = (await counts()).length
    const [, next = ''] = await broker.redis.zrange('{mr}:feeds:repeat', '0', '-1', 'WITHSCORES')
    await until('ten missed ticks', () => Date.now() > Number(next) + 10 * EVERY_MS)
    const back = Date.now()
    startTicks()
    await counted(before + 3)
    const { events } = await broker.log.readPage(counter.channel, 'earliest')
    const [late, second] = events.slice(before)
    expect(late?.time).toBeGreaterThanOrEqual(back)
    // The next one is due at a time that was yet to come.
    const following = Math.floor(back / EVERY_MS) * EVERY_MS + EVERY_MS
    expect(second?.time).toBeGreaterThanOrEqual(following)
    expect((await counts()).slice(0, before + 3)).toEqual(oneTo(before + 3))
  })

  test('pause and go on when a worker dies that has taken one and not yet queued the next', async () => {
    startTicks()
    await counted(2)
    await stopAll()
    const before = (await counts()).length
    const [id = '', next = ''] = await nextTick()
    await broker.redis.lpush('{mr}:feeds:active', `repeat:${id}:${next}`)
    for (let i = 0; i < 3; i++) startTicks()
    const all = await counted(before + 3)
    expect(all).toEqual(oneTo(all.length))
  })

  test('begin again where the next one was lost', async () => {
    startTicks()
    await counted(2)
    await stopAll()
    const [id = '', next = ''] = await nextTick()
    await broker.redis.del(`{mr}:feeds:repeat:${id}:${next}`)
    await broker.redis.zadd('{mr}:feeds:repeat', Number(next) - 60_000, id)
    startTicks()
    await counted(5)
  })

  test('leave nothing in the queue once the demo is off, and come back when it is on', async () => {
    startTicks()
    await counted(2)
    await stopAll()
    await takeAndDie()
    await removeDemoSchedules(broker.redis)
    expect(await broker.redis.keys(QUEUE_KEYS)).toEqual([])
    await new Queue(FEED_QUEUE_NAME, { connection: broker.redis, prefix: QUEUE_PREFIX }).pause()
    startTicks()
    await counted((await counts()).length + 3)
  })
})

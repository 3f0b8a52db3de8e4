// Whatever happens to Redis or to the way there, every viewer is whole again afterwards.

import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Redis } from 'ioredis'
import { logKey, topicKey } from '../../shared/keys.ts'
import { RedisEventLog } from '../../shared/redis-event-log.ts'
import { startGateway, type TestGateway } from '../support/processes.ts'
import { startRedis, type TestRedis } from '../support/redis.ts'
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts'
import { openViewer, type Viewer } from '../support/viewer.ts'

const CHANNELS = 20

let server: TestRedis
let redis: Redis
let log: RedisEventLog
let proxy: TcpProxy
let gateway: TestGateway

beforeAll(async () => {
  server = await startRedis()
  redis = new Redis(server.url, { maxRetriesPerRequest: null, retryStrategy: () => 50 })
  log = new RedisEventLog(redis, { channels: { maxEvents: 10_000, ttlMs: 600_000 }, taskMaxEvents: 10_000 })
  proxy = await startTcpProxy(server.port)
  gateway = await startGateway({ redisUrl: `redis://127.0.0.1:${proxy.port}` })
})

afterAll(async () => {
  redis.disconnect()
  await gateway.stop()
  await proxy.close()
  await server.close()
})

interface Watched {
  readonly channel: string
  readonly viewer: Viewer
}

/** Viewers that have seen event 1 of their channels live. */
async function watch(): Promise<Watched[]> {
  return Promise.all(
    Array.from({ length: CHANNELS }, async () => {
      const channel = `test:${randomUUID()}`
      const viewer = await openViewer(`${gateway.url}/v1/channels/${channel}/events?from=earliest`)
      await append(channel, 1)
      await viewer.until(({ events }) => events.length === 1)
      return { channel, viewer }
    }),
  )
}

async function append(channel: string, n: number): Promise<void> {
  await log.append(channel, [{ type: 'n', time: Date.now(), format: 'json', data: String(n) }])
}

/** Every viewer has seen 1 … last, once each and in order. */
async function expectWhole(watched: Watched[], last: number): Promise<void> {
  const wanted = Array.from({ length: last }, (_, i) => String(i + 1))
  for (const { viewer } of watched) {
    await viewer.until(({ events }) => events.length >= last)
    expect(viewer.events.map(event => event.data)).toEqual(wanted)
  }
  for (const { viewer } of watched) viewer.cut()
}

describe('viewers are whole again', () => {
  test('after Redis cut the subscriber connection, with events published meanwhile', async () => {
    const watched = await watch()
    await redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
    for (const { channel } of watched) await append(channel, 2)
    await expectWhole(watched, 2)
    const again = await watch()
    await expectWhole(again, 1)
  })

  test('after the way to Redis went dead without a word', async () => {
    const watched = await watch()
    proxy.blackhole()
    for (const { channel } of watched) await append(channel, 2)
    await expectWhole(watched, 2)
  })

  test('after Redis hung', async () => {
    const watched = await watch()
    process.kill(server.pid, 'SIGSTOP')
    const appended = Promise.all(watched.map(({ channel }) => append(channel, 2)))
    // Long enough for commands to have failed: what a gateway answers then says so.
    expect((await fetch(`${gateway.url}/v1/tasks`)).status).toBe(503)
    process.kill(server.pid, 'SIGCONT')
    await appended
    await expectWhole(watched, 2)
  })

  test('after Redis was killed and came back with its append-only file', async () => {
    const watched = await watch()
    for (const { channel } of watched) await append(channel, 2)
    await server.kill()
    await server.restart()
    for (const { channel } of watched) await append(channel, 3)
    await expectWhole(watched, 3)
  })

  test('after a pub/sub message was lost, with the next event', async () => {
    const watched = await watch()
    for (const { channel } of watched) {
      const epoch = (await log.heads([channel]))[0]?.epoch
      // In the log without a word on pub/sub.
      await redis.xadd(logKey(channel), `${epoch}-*`, 'type', 'n', 'time', '1', 'json', '2')
      await append(channel, 3)
    }
    await expectWhole(watched, 3)
  })

  test('after a pub/sub message was delivered twice', async () => {
    const watched = await watch()
    for (const { channel } of watched) {
      await append(channel, 2)
      const head = (await log.heads([channel]))[0]
      await redis.publish(topicKey(channel), `${head?.epoch}-2 1 n json 1\n2`)
      await append(channel, 3)
    }
    await expectWhole(watched, 3)
  })

  test('and told of a reset after the log went back', async () => {
    const watched = await watch()
    for (const { channel } of watched) await append(channel, 2)
    for (const { viewer } of watched) await viewer.until(({ events }) => events.length === 2)
    for (const { channel } of watched) {
      const [first] = await redis.xrange(logKey(channel), '-', '+', 'COUNT', 1)
      await redis
        .multi()
        .del(logKey(channel))
        .xadd(logKey(channel), first?.[0] ?? '', ...(first?.[1] ?? []))
        .exec()
    }
    // The gateway looks at all its channels when it has subscribed again.
    await redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
    for (const { channel, viewer } of watched) {
      await viewer.until(({ events }) => events.some(event => event.type === 'gap'))
      await append(channel, 3)
      await viewer.until(({ events }) => events.at(-1)?.data === '3')
      const gap = JSON.parse(viewer.events[2]?.data ?? '') as { reason: string }
      expect(gap.reason).toBe('reset')
      const epochs = viewer.events
        .filter(event => event.type === 'n')
        .map(event => Number(event.id.split('-')[0]))
      expect(epochs.at(-1)).toBeGreaterThan(epochs[0] ?? 0)
      viewer.cut()
    }
  })
})

test('a stream that is asked for while Redis is away is accepted and starts when it is back', async () => {
  const channel = `test:${randomUUID()}`
  await append(channel, 1)
  await server.kill()
  const viewer = await openViewer(`${gateway.url}/v1/channels/${channel}/events?from=earliest`)
  expect(viewer.status).toBe(200)
  await viewer.until(({ raw }) => raw.startsWith('retry: '))
  await server.restart()
  await append(channel, 2)
  await viewer.until(({ events }) => events.length === 2)
  expect(viewer.events.map(event => event.data)).toEqual(['1', '2'])
  viewer.cut()
})

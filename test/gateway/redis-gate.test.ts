import { once } from 'node:events'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { Redis } from 'ioredis'
import { RedisGate } from '../../gateway/redis-gate.ts'
import { startRedis, type TestRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'

let server: TestRedis
let redis: Redis

beforeAll(async () => {
  server = await startRedis()
  redis = new Redis(server.url, { disconnectTimeout: 10 })
  redis.on('error', () => undefined)
  await once(redis, 'ready')
})

afterAll(async () => {
  redis.disconnect()
  await server.close()
})

const unavailable = { code: 'redis-unavailable' }

test('hands on what the work resolves or rejects with', async () => {
  const gate = new RedisGate(redis)
  expect(await gate.run(() => redis.echo('hello'))).toBe('hello')
  await expect(gate.run(() => redis.call('nonsense'))).rejects.toThrow(/unknown command/)
})

test('does not wait past its deadline, and a failure after it is nobody’s', async () => {
  const unhandled: unknown[] = []
  const note = (reason: unknown) => unhandled.push(reason)
  process.on('unhandledRejection', note)
  let fail = (_: Error) => {}
  const work = new Promise<never>((_, reject) => {
    fail = reject
  })
  await expect(new RedisGate(redis, 20).run(() => work)).rejects.toMatchObject(unavailable)
  fail(new Error('too late to matter'))
  // Node says so between two turns of the event loop, of which this round trip takes several.
  await redis.ping()
  process.off('unhandledRejection', note)
  expect(unhandled).toEqual([])
})

test('refuses at once while Redis is away, without beginning the work', async () => {
  await server.kill()
  await until('the connection is seen to be down', () => redis.status !== 'ready')
  let begun = false
  const work = async () => {
    begun = true
  }
  await expect(new RedisGate(redis).run(work)).rejects.toMatchObject(unavailable)
  expect(begun).toBe(false)
})

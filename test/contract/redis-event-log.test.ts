import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { Redis } from 'ioredis'
import { type NewEvent, taskOfChannel } from '../../shared/event.ts'
import { logKey, taskKey, topicKey } from '../../shared/keys.ts'
import { RedisEventLog } from '../../shared/redis-event-log.ts'
import { startRedis, type TestRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { eventLogContract } from './event-log.ts'

const MAX_EVENTS = 50

let server: TestRedis
let redis: Redis
let log: RedisEventLog

beforeAll(async () => {
  server = await startRedis()
  redis = new Redis(server.url)
  log = new RedisEventLog(redis, {
    channels: { maxEvents: MAX_EVENTS, ttlMs: 60_000 },
    taskMaxEvents: MAX_EVENTS,
  })
})

afterAll(async () => {
  redis.disconnect()
  await server.close()
})

eventLogContract('Redis streams', () => ({
  log,
  maxEvents: MAX_EVENTS,
  async listen(channel) {
    const subscriber = new Redis(server.url)
    const received: Buffer[] = []
    subscriber.on('messageBuffer', (topic: Buffer, message: Buffer) => {
      if (topic.toString() === topicKey(channel)) received.push(message)
    })
    await subscriber.subscribe(topicKey(channel), 'end')
    const ended = new Promise(resolve => subscriber.on('message', topic => topic === 'end' && resolve(null)))
    return {
      received,
      async close() {
        // Pub/sub keeps the order, so that everything published before has come when this has.
        await redis.publish('end', '')
        await ended
        subscriber.disconnect()
      },
    }
  },
  expiresIn: channel => redis.pttl(logKey(channel)),
  state: taskId => redis.hgetall(taskKey(taskId)),
  async goBack(channel, keep) {
    const entries = keep > 0 ? await redis.xrange(logKey(channel), '-', '+', 'COUNT', keep) : []
    await redis.del(logKey(channel))
    for (const [id, fields] of entries) await redis.xadd(logKey(channel), id, ...fields)
    const [taskId, [lastEventId] = []] = [taskOfChannel(channel), entries.at(-1)]
    if (taskId !== null && lastEventId) await redis.hset(taskKey(taskId), { lastEventId })
  },
}))

test('what one append to a task meets is no matter of those that go along with it', async () => {
  const ids = Array.from({ length: 250 }, (_, i) => `batch-${i}`)
  await redis.set(logKey(`task:${ids[7]}`), 'no stream')
  const answers = await Promise.allSettled(
    [...ids, ids[3]!].map(id =>
      log.appendToTask(id, [{ type: 'queued', time: 1, format: 'json', data: '{}' }], {
        from: [],
        set: { id, state: 'queued' },
      }),
    ),
  )
  expect(answers[7]).toMatchObject({
    status: 'rejected',
    reason: { message: expect.stringContaining('WRONGTYPE') },
  })
  expect(answers.at(-1)).toMatchObject({ value: { outcome: 'exists' } })
  const others = answers.slice(0, -1).filter((_, i) => i !== 7)
  expect(others.filter(answer => answer.status === 'rejected' || answer.value.outcome !== 'ok')).toEqual([])
  for (const id of ids.filter((_, i) => i !== 7)) expect(await redis.xlen(logKey(`task:${id}`))).toBe(1)
})

test('text of every kind is kept, and what is not well-formed harms no append that goes along with it', async () => {
  const create = (id: string, callbackUrl: string) =>
    log.appendToTask(id, [{ type: 'queued', time: 1, format: 'json', data: '{}' }], {
      from: [],
      set: { id, state: 'queued', callbackUrl },
    })
  const odd = '\u0000\u001f"\\/\u2028 €😀'
  const answers = await Promise.all([create('odd', odd), create('half', 'a\ud83d'), create('plain', 'b')])
  expect(answers.map(({ outcome }) => outcome)).toEqual(['ok', 'ok', 'ok'])
  expect(await redis.hget(taskKey('odd'), 'callbackUrl')).toBe(odd)
  expect(await redis.hget(taskKey('half'), 'callbackUrl')).toBe('a\ufffd')
})

test('short appends go a few to a script, and long ones by themselves', async () => {
  const create = (id: string, input: string) =>
    log.appendToTask(id, [{ type: 'queued', time: 1, format: 'json', data: '{}' }], {
      from: [],
      set: { id, state: 'queued', input },
    })
  // So that Redis knows the scripts.
  for (const input of ['x'.repeat(100_000), 'x']) await create(`first-${input.length}`, input)
  await redis.config('RESETSTAT')
  await Promise.all(Array.from({ length: 10 }, (_, i) => create(`long-${i}`, 'x'.repeat(100_000))))
  await Promise.all(Array.from({ length: 10 }, (_, i) => create(`short-${i}`, 'x')))
  const calls = /cmdstat_evalsha:calls=(\d+)/.exec(await redis.info('commandstats'))?.[1]
  // 10 long ones; and 4, 4 and 2 short ones.
  expect(calls).toBe('13')
})

test('a server that has become a replica is left by who appends to tasks alone', async () => {
  const replica = await startRedis()
  const client = new Redis(replica.url, { reconnectOnError: ({ message }) => message.startsWith('READONLY') })
  try {
    const retention = { channels: { maxEvents: MAX_EVENTS, ttlMs: 60_000 }, taskMaxEvents: MAX_EVENTS }
    const tasks = new RedisEventLog(client, retention)
    await client.replicaof('127.0.0.1', 1)
    let connections = 0
    client.on('ready', () => connections++)
    const event = { type: 'queued', time: 1, format: 'json', data: '{}' } as const
    const refused = tasks.appendToTask('t', [event], { from: [], set: { id: 't', state: 'queued' } })
    await expect(refused).rejects.toThrow('READONLY')
    await until('it connects anew', () => connections > 0)
  } finally {
    client.disconnect()
    await replica.close()
  }
})

test('many appends at once go as a few scripts, none of which is long', async () => {
  await Promise.all(Array.from({ length: 200 }, (_, i) => log.append('many', [noteOf(i)])))
  await redis.config('RESETSTAT')
  const positions = await Promise.all(Array.from({ length: 200 }, (_, i) => log.append('many', [noteOf(i)])))
  expect(positions.map(({ seq }) => seq)).toEqual(Array.from({ length: 200 }, (_, i) => 201 + i))
  const scripts = Number(/cmdstat_evalsha:calls=(\d+)/.exec(await redis.info('commandstats'))?.[1])
  expect(scripts).toBeGreaterThanOrEqual(200 / 40)
  expect(scripts).toBeLessThan(20)
})

function noteOf(i: number): NewEvent {
  return { type: 'note', time: 0, format: 'json', data: String(i) }
}

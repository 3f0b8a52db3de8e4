import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import type { Queue } from 'bullmq'
import { Redis } from 'ioredis'
import { jobIdOf } from '../../shared/job-id.ts'
import { openQueue } from '../../shared/open-queue.ts'
import { type QueuedJob, QueueJobs } from '../../shared/queue-jobs.ts'
import { startRedis, type TestRedis } from '../support/redis.ts'

let server: TestRedis
let redis: Redis
let ours: Queue
let theirs: Queue
let jobs: QueueJobs

beforeAll(async () => {
  server = await startRedis()
  redis = new Redis(server.url, { maxRetriesPerRequest: null })
  ours = openQueue('ours', redis)
  theirs = openQueue('theirs', redis)
  jobs = new QueueJobs(redis, ours)
})
beforeEach(() => redis.flushall())
afterAll(async () => {
  await Promise.all([ours.close(), theirs.close()])
  redis.disconnect()
  await server.close()
})

const job = (id: string, more: Partial<QueuedJob> = {}): QueuedJob => ({
  ...{ id, type: 'probe', priority: 0, delayMs: 0 },
  ...more,
})

/** Adds a job as BullMQ does it by itself. */
async function addTheirs({ id, type }: QueuedJob): Promise<void> {
  const state = { progress: 0, attemptsMade: 0, attemptsStarted: 0, stalledCounter: 0 }
  const text = { data: '{}', failedReason: '', returnvalue: '' }
  const jobId = jobIdOf(id)
  const whole = { ...state, ...text, id: jobId, name: type, timestamp: Date.now(), opts: {} }
  await theirs.backend.addJob(whole, jobId)
}

/** All that a queue keeps but its events, without its name and times. */
async function contentOf(queue: Queue): Promise<Record<string, unknown>> {
  const content: Record<string, unknown> = {}
  for (const key of (await redis.keys(`${queue.toKey('')}*`)).sort()) {
    if (key !== queue.toKey('events')) content[key.slice(queue.toKey('').length)] = await contentAt(key)
  }
  return content
}

async function contentAt(key: string): Promise<unknown> {
  switch (await redis.type(key)) {
    case 'hash':
      return { ...(await redis.hgetall(key)), timestamp: null }
    case 'list':
      return redis.lrange(key, 0, -1)
    case 'zset':
      return redis.zrange(key, '0', '-1', 'WITHSCORES')
    default:
      return redis.get(key)
  }
}

describe('jobs that are added together', () => {
  const five = ['a', 'b', 'a', 'c', 'd'].map(id => job(id))

  test.each([
    ['an empty queue', async () => undefined],
    ['one that is paused', (queue: Queue) => queue.pause()],
    ['one that runs as many as it may', (queue: Queue) => redis.hset(queue.toKey('meta'), 'concurrency', 0)],
  ])('become what BullMQ makes of each: %s', async (_, prepare) => {
    for (const queue of [ours, theirs]) await prepare(queue)
    for (const one of five) await addTheirs(one)
    expect(await jobs.add(five)).toEqual([null, null, null, null, null])
    expect(await contentOf(ours)).toEqual(await contentOf(theirs))
    expect(JSON.stringify(await redis.xrange(ours.toKey('events'), '-', '+'))).not.toContain('jobId')
  })

  test('keep their order, however many they are, and go where each belongs', async () => {
    const many = Array.from({ length: 130 }, (_, i) => job(String(i).padStart(3, 'x')))
    many.splice(60, 0, job('urgent', { priority: 1 }), job('later', { delayMs: 60_000 }))
    expect(new Set(await jobs.add(many))).toEqual(new Set([null]))
    const plain = many.filter(({ priority, delayMs }) => priority === 0 && delayMs === 0)
    expect(await ours.getRanges(['wait'], 0, -1, true)).toEqual(plain.map(({ id }) => jobIdOf(id)))
    expect(await ours.getRanges(['prioritized'], 0, -1, true)).toEqual([jobIdOf('urgent')])
    expect(await ours.getRanges(['delayed'], 0, -1, true)).toEqual([jobIdOf('later')])
  })

  test('fail one by one', async () => {
    await redis.set(ours.toKey(jobIdOf('b')), 'no job')
    await redis.set(ours.toKey('delayed'), 'no sorted set')
    const outcomes = await jobs.add([...five, job('later', { delayMs: 1 })])
    const wrong = expect.objectContaining({ message: expect.stringContaining('WRONGTYPE') })
    expect(outcomes).toEqual([null, wrong, null, null, null, wrong])
    expect(await ours.getRanges(['wait'], 0, -1, true)).toEqual(['a', 'c', 'd'].map(jobIdOf))
  })
})

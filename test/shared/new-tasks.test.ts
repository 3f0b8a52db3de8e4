import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import type { Queue } from 'bullmq'
import { Redis } from 'ioredis'
import type { NewEvent } from '../../shared/event.ts'
import { jobIdOf } from '../../shared/job-id.ts'
import { INDEX_KEY, logKey, OPEN_KEY, QUEUE_NAME, taskKey } from '../../shared/keys.ts'
import { openQueue } from '../../shared/open-queue.ts'
import { addJob } from '../../shared/queue-jobs.ts'
import { type NewTask, NewTasks } from '../../shared/redis-new-tasks.ts'
import { contentOf } from '../support/queue-content.ts'
import { startRedis, type TestRedis } from '../support/redis.ts'

const TIME = 1_700_000_000_000

let server: TestRedis
let redis: Redis
let ours: Queue
let theirs: Queue
let newTasks: NewTasks

beforeAll(async () => {
  server = await startRedis()
  redis = new Redis(server.url, { maxRetriesPerRequest: null })
  ours = openQueue(QUEUE_NAME, redis)
  theirs = openQueue('theirs', redis)
  newTasks = new NewTasks(redis)
})
beforeEach(() => redis.flushall())
afterAll(async () => {
  await Promise.all([ours.close(), theirs.close()])
  redis.disconnect()
  await server.close()
})

const queued: NewEvent = { type: 'queued', time: TIME, format: 'json', data: '{"state":"queued"}' }

const task = (taskId: string, more: Partial<NewTask> = {}): NewTask => ({
  ...{ taskId, event: queued, fields: { state: 'queued', n: 1 }, jobName: 'probe' },
  ...more,
})

const begun = { outcome: 'ok', firstId: expect.stringMatching(/^\d{13}-1$/) }

const members = async () =>
  Promise.all([OPEN_KEY, INDEX_KEY].map(async key => (await redis.zrange(key, '0', '-1')).sort()))

const waiting = () => ours.getRanges(['wait'], 0, -1, true)

describe('tasks that are begun together', () => {
  test('are recorded, listed and queued, each by itself and only if it does not exist', async () => {
    const [a, b] = [randomUUID(), randomUUID()]
    const outcomes = await newTasks.begin([task(a), task(b, { fields: { n: 2 } }), task(a)])
    expect(outcomes).toEqual([begun, begun, { outcome: 'exists' }])
    const { firstId } = outcomes[0] as typeof begun
    expect(await redis.hgetall(taskKey(a))).toEqual({ lastEventId: firstId, state: 'queued', n: '1' })
    expect(await redis.hget(taskKey(b), 'n')).toBe('2')
    const event = ['type', 'queued', 'time', String(TIME), 'json', queued.data]
    expect(await redis.xrange(logKey(`task:${a}`), '-', '+')).toEqual([[firstId, event]])
    const listed = [a, b].map(id => `${TIME}:${id}`).sort()
    expect(await members()).toEqual([listed, listed])
    expect(await waiting()).toEqual([a, b].map(jobIdOf))
    expect(await newTasks.begin([])).toEqual([])
  })

  test('are published', async () => {
    const listener = redis.duplicate()
    const received: string[] = []
    listener.on('message', (_, message: string) => received.push(message))
    const ids = ['new', 'left'].map(name => `${name}-${randomUUID()}`)
    await listener.subscribe(...ids.map(id => `mr:{task:${id}}`))
    await redis.xadd(logKey(`task:${ids[1]}`), '5-1', 'type', 'x', 'time', '1', 'json', '1')
    const outcomes = (await newTasks.begin(ids.map(id => task(id)))) as { firstId: string }[]
    // Comes after what was published before.
    await redis.publish(`mr:{task:${ids[0]}}`, 'end')
    await new Promise<void>(resolve => {
      if (received.at(-1) === 'end') resolve()
      else listener.on('message', (_, message) => message === 'end' && resolve())
    })
    listener.disconnect()
    const message = ({ firstId }: { firstId: string }) => `${firstId} ${TIME} queued json 18\n${queued.data}`
    expect(received).toEqual([...outcomes.map(message), 'end'])
  })

  test('keep their order, however many they are', async () => {
    const ids = Array.from({ length: 130 }, (_, i) => `task-${i}`)
    expect(
      new Set((await newTasks.begin(ids.map(id => task(id)))).map(answer => 'outcome' in answer)),
    ).toEqual(new Set([true]))
    expect(await waiting()).toEqual(ids.map(jobIdOf))
  })

  test('fail one by one, and then nothing is left of them', async () => {
    await redis.set(logKey('task:b'), 'no stream')
    const outcomes = await newTasks.begin(['a', 'b', 'c'].map(id => task(id)))
    const wrong = expect.objectContaining({ message: expect.stringContaining('WRONGTYPE') })
    expect(outcomes).toEqual([begun, wrong, begun])
    expect(await waiting()).toEqual(['a', 'c'].map(jobIdOf))
    expect((await members())[0]).toEqual(['a', 'c'].map(id => `${TIME}:${id}`))
    expect(await redis.exists(taskKey('b'), ours.toKey(jobIdOf('b')))).toBe(0)
  })

  test('with a key are begun once, and so they are told also when they have moved on or are gone', async () => {
    const once = { key: 'k', fingerprint: 'first', keptMs: 60_000 }
    const [created] = await newTasks.begin([task('a', { once })])
    expect(created).toEqual(begun)
    await redis.del(taskKey('a'), logKey('task:a'), ours.toKey(jobIdOf('a')), ours.toKey('wait'))
    await redis.del(OPEN_KEY, INDEX_KEY)
    const again = { once: { ...once, fingerprint: 'second' } }
    expect(await newTasks.begin([task('a', again), task('a', { once }), task('b', { once })])).toEqual([
      { outcome: 'reused' },
      { ...created, outcome: 'repeated' },
      begun,
    ])
    expect(await redis.exists(taskKey('a'))).toBe(0)
    expect(await waiting()).toEqual([jobIdOf('b')])
    expect((await members())[0]).toEqual([`${TIME}:b`])
  })

  test('go where another one of their name has left something', async () => {
    await redis.xadd(logKey('task:log-left'), '5-1', 'type', 'x', 'time', '1', 'json', '1')
    await redis.hset(ours.toKey(jobIdOf('job-left')), 'name', 'other')
    expect(await newTasks.begin([task('log-left'), task('job-left')])).toEqual([
      { outcome: 'ok', firstId: '5-2' },
      begun,
    ])
    expect(await redis.hget(taskKey('log-left'), 'lastEventId')).toBe('5-2')
    expect((await members())[0]).toHaveLength(2)
    // A job that exists stays as it is.
    expect(await waiting()).toEqual([jobIdOf('log-left')])
    expect(await redis.hgetall(ours.toKey(jobIdOf('job-left')))).toEqual({ name: 'other' })
  })

  test('are queued only if they are to be', async () => {
    expect(await newTasks.begin([task('a', { jobName: null }), task('b')])).toEqual([begun, begun])
    expect((await members())[0]).toHaveLength(2)
    expect(await redis.exists(ours.toKey(jobIdOf('a')))).toBe(0)
    expect(await waiting()).toEqual([jobIdOf('b')])
  })
})

describe('their jobs', () => {
  /** All that a queue keeps but its events, without its name and times. */
  const maxed = async (queue: Queue) => {
    await redis.hset(queue.toKey('meta'), 'concurrency', 2)
    await redis.lpush(queue.toKey('active'), 'one', 'another')
  }

  test.each([
    ['an empty queue', async () => undefined],
    ['one that is paused', (queue: Queue) => queue.pause()],
    ['one that runs as many as it may', maxed],
    [
      'one that may run more',
      async (queue: Queue) => [await maxed(queue), await redis.lpop(queue.toKey('active'))],
    ],
    [
      'one that keeps another number of events',
      (queue: Queue) => redis.hset(queue.toKey('meta'), 'opts.maxLenEvents', 7),
    ],
  ])('are those that BullMQ makes: in %s', async (_, prepare) => {
    for (const queue of [ours, theirs]) await prepare(queue)
    for (const id of ['a', 'b', 'c']) await addJob(theirs, { id, type: 'probe', priority: 0, delayMs: 0 })
    expect(await newTasks.begin(['a', 'b', 'c'].map(id => task(id)))).toEqual([begun, begun, begun])
    expect(await contentOf(redis, ours)).toEqual(await contentOf(redis, theirs))
    expect(await redis.hget(ours.toKey(jobIdOf('a')), 'timestamp')).toBe(String(TIME))
    expect(JSON.stringify(await redis.xrange(ours.toKey('events'), '-', '+'))).not.toContain('jobId')
  })
})

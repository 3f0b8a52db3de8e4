import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { type Job, type Queue, Worker } from 'bullmq'
import { jobIdOf } from '../../shared/job-id.ts'
import { OPEN_KEY, QUEUE_NAME, QUEUE_PREFIX, slotsOfKey, taskKey } from '../../shared/keys.ts'
import { openQueue } from '../../shared/open-queue.ts'
import { addJob } from '../../shared/queue-jobs.ts'
import { ended, startedFirst } from '../../shared/task-transitions.ts'
import type { TaskDefinition } from '../../worker/define-task.ts'
import { LOCK_MS } from '../../worker/lock-keeper.ts'
import { createQueueWorker } from '../../worker/queue-worker.ts'
import { RunEnds } from '../../worker/run-ends.ts'
import { TaskRun } from '../../worker/task-run.ts'
import { contentOf } from '../support/queue-content.ts'
import { type Broker, silent, startBroker, startTestWorker } from './worker-fixture.ts'

const TOKEN = 'lock'

let broker: Broker
let ours: Queue
let theirs: Queue

beforeAll(async () => {
  broker = await startBroker()
  ours = openQueue(QUEUE_NAME, broker.redis)
  theirs = openQueue('theirs', broker.redis)
})
beforeEach(() => broker.redis.flushall())
afterAll(async () => {
  await Promise.all([ours.close(), theirs.close()])
  await broker.close()
})

/** A worker of our queue that takes no job by itself, and the ends of its runs. */
async function openEnds(types: readonly string[] = ['probe']) {
  const { redis, log } = broker
  const ends = new RunEnds({ redis, log: log.taskLog, types, workerName: 'worker', concurrency: 20 })
  const worker = createQueueWorker(QUEUE_NAME, async () => undefined, {
    ...{ redis, concurrency: 1, log: silent, skipLockRenewal: true },
    ...{ removeOnComplete: { count: 0 }, removeOnFail: { count: 0 } },
    backendFactory: ends.backendFactory,
  })
  return {
    ends,
    /** Takes the next job and begins the run of its task. */
    async begin() {
      const job = (await worker.getNextJob(TOKEN, { block: false })) as Job
      const id = job.id?.replace(jobIdOf(''), '') ?? ''
      const run = new TaskRun(id, TOKEN)
      const start = startedFirst(id, { worker: 'worker', token: run.token, now: Date.now() })
      expect(await broker.tasks.apply(id, start)).toMatchObject({ outcome: 'ok' })
      return { id, job, run }
    },
    async end({ id, run }: { id: string; run: TaskRun }) {
      const task = await broker.tasks.load(id)
      const { event, write } = ended(task!, { state: 'completed', result: 1 }, { run: 1, now: Date.now() })
      return ends.end(run, [event], { ...write, run: 1, write: 1 })
    },
    close: () => worker.close(),
  }
}

const submitted = (count: number, type = 'probe') =>
  Promise.all(Array.from({ length: count }, (_, i) => broker.submit({ type, id: `task-${i}` })))

describe('the end of a run', () => {
  test.each([
    ['others wait', 4, async () => undefined],
    ['it was the last one', 1, async () => undefined],
    ['the queue is paused', 4, (queue: Queue) => queue.pause()],
    ['as many run as may', 4, (queue: Queue) => broker.redis.hset(queue.toKey('meta'), 'concurrency', 1)],
    [
      'one is due',
      1,
      async (queue: Queue) => {
        await addJob(queue, later)
        await broker.redis.zadd(queue.toKey('delayed'), 1, jobIdOf(later.id))
      },
    ],
    ['one comes later', 1, (queue: Queue) => addJob(queue, later)],
    [
      'one is urgent',
      4,
      (queue: Queue) => addJob(queue, { ...later, id: 'urgent', priority: 1, delayMs: 0 }),
    ],
  ])('leaves of its job what BullMQ leaves: %s', async (_, count, prepare) => {
    const { begin, end, close } = await openEnds()
    const options = { connection: broker.redis, prefix: QUEUE_PREFIX, lockDuration: LOCK_MS, autorun: false }
    const other = new Worker('theirs', undefined, { ...options, removeOnComplete: { count: 0 } })
    await submitted(count)
    for (let i = 0; i < count; i++)
      await addJob(theirs, { id: `task-${i}`, type: 'probe', priority: 0, delayMs: 0 })
    const run = await begin()
    const job = (await other.getNextJob(TOKEN, { block: false })) as Job
    for (const queue of [ours, theirs]) await prepare(queue)
    const next = await job.moveToCompleted(null, TOKEN, true)
    expect(await end(run)).toMatchObject({ outcome: 'ok' })
    expect(await contentOf(broker.redis, ours)).toEqual(await contentOf(broker.redis, theirs))
    const ids = (taken: typeof next) => taken && [taken[1], taken[0]?.name]
    expect(ids(await run.job.moveToCompleted(null, TOKEN, true))).toEqual(ids(next))
    await Promise.all([close(), other.close()])
  })

  const later = { id: 'later', type: 'probe', priority: 0, delayMs: 60_000 }

  test('begins the next task, whose run BullMQ is handed with its job', async () => {
    const { ends, begin, end, close } = await openEnds()
    await submitted(2)
    const run = await begin()
    await end(run)
    expect(await broker.types('task-1')).toEqual(['queued', 'started'])
    const [, next] = (await run.job.moveToCompleted(null, TOKEN, true)) ?? []
    const begun = ends.takeBegun(String(next))
    expect(await begun?.answer).toMatchObject({ outcome: 'ok', fields: { type: 'probe', state: 'running' } })
    expect(await broker.tasks.load('task-1')).toMatchObject({ run: 1, runToken: begun?.token })
    expect((await broker.events('task-1'))[1]?.data).toEqual({
      ...{ taskId: 'task-1', attempt: 1, worker: 'worker', run: 1 },
      time: new Date(begun?.startedAt ?? 0).toISOString(),
    })
    expect(ends.takeBegun(String(next))).toBeUndefined()
    await close()
  })

  test.each([
    [
      'is of another type',
      () => broker.redis.hset(ours.toKey(jobIdOf('task-1')), 'name', 'other'),
      undefined,
    ],
    ['has run before', () => broker.redis.hset(taskKey('task-1'), 'run', 1), 'fenced'],
    ['is to be cancelled', () => broker.redis.hset(taskKey('task-1'), 'cancel', 1), 'cancelling'],
    ['has expired', () => broker.redis.hset(taskKey('task-1'), 'expiresAt', 1), 'refused'],
    ['is gone', () => broker.redis.del(taskKey('task-1')), 'unknown'],
  ])('takes the next job, but does not begin a task that %s', async (_, change, outcome) => {
    const { ends, begin, end, close } = await openEnds()
    await submitted(2)
    const run = await begin()
    await change()
    await end(run)
    const [, next] = (await run.job.moveToCompleted(null, TOKEN, true)) ?? []
    expect(next).toBe(jobIdOf('task-1'))
    expect((await ends.takeBegun(String(next))?.answer)?.outcome).toBe(outcome)
    expect(await broker.types('task-1')).toEqual(['queued'])
    await close()
  })

  test('takes no job where the worker takes no more', async () => {
    const { ends, begin, end, close } = await openEnds()
    await submitted(2)
    const run = await begin()
    ends.takeNoNext()
    await end(run)
    expect(await ours.getJobCounts('wait', 'active')).toEqual({ wait: 1, active: 0 })
    await close()
  })

  test('that is refused leaves the job as it is', async () => {
    const { begin, end, close } = await openEnds()
    await submitted(1)
    const run = await begin()
    await broker.redis.hset(taskKey('task-0'), 'cancel', 1)
    expect(await end(run)).toEqual({ outcome: 'cancelling' })
    await broker.redis.hset(taskKey('task-0'), 'run', 2)
    expect(await end(run)).toMatchObject({ outcome: 'fenced' })
    expect(await ours.getJobCounts('active')).toEqual({ active: 1 })
    await close()
  })

  test('that is sent twice ends it once, and BullMQ has nothing left to do', async () => {
    const { begin, end, close } = await openEnds()
    await submitted(1)
    const run = await begin()
    expect(await end(run)).toMatchObject({ outcome: 'ok' })
    expect(await end(run)).toMatchObject({ outcome: 'repeated' })
    expect(await run.job.moveToCompleted(null, TOKEN, true)).toBeUndefined()
    expect(await broker.types('task-0')).toEqual(['queued', 'started', 'completed'])
    await close()
  })

  test('is recorded also where the job is no longer this lock’s, which BullMQ then says', async () => {
    const { begin, end, close } = await openEnds()
    await submitted(1)
    const run = await begin()
    await broker.redis.set(ours.toKey(`${jobIdOf('task-0')}:lock`), 'another')
    expect(await end(run)).toMatchObject({ outcome: 'ok' })
    await expect(run.job.moveToCompleted(null, TOKEN, true)).rejects.toThrow('Lock mismatch')
    await close()
  })

  test('that fails is nobody else’s matter', async () => {
    const { begin, end, close } = await openEnds()
    await submitted(3)
    const runs = [await begin(), await begin(), await begin()]
    await broker.redis.set('mr:{task:task-1}:log', 'no stream')
    const outcomes = await Promise.allSettled(runs.map(end))
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect(await ours.getRanges(['active'], 0, -1)).toEqual([jobIdOf('task-1')])
    await close()
  })
})

describe('a task that began with the end of another one', () => {
  test('goes on where that one could not be followed up', async () => {
    const key = `tenant-${randomUUID()}`
    const type = `probe-${randomUUID()}`
    await broker.submit({ type, concurrencyKey: key, concurrencyLimit: 2 })
    const others = [await broker.submit({ type }), await broker.submit({ type })]
    const called: string[] = []
    const run: TaskDefinition['run'] = async (_input, { id }) => {
      called.push(id)
      await broker.redis.set(slotsOfKey(key), 'no sorted set')
    }
    const worker = startTestWorker(broker, [{ type, run }], { concurrency: 1 })
    for (const id of others) await broker.ended(id)
    expect(called.slice(1)).toEqual(others)
    await worker.stop()
  })

  test('is left to the worker that has taken it meanwhile', async () => {
    const type = `probe-${randomUUID()}`
    const called: string[] = []
    const run: TaskDefinition['run'] = (_input, { id }) => void called.push(id)
    const worker = startTestWorker(broker, [{ type, run }], { concurrency: 1 })
    // As if what comes between had waited for Redis.
    const { takeBegun } = worker.ends
    const isLeft = new Promise<void>(resolve => {
      worker.ends.takeBegun = jobId => {
        const begun = takeBegun.call(worker.ends, jobId)
        if (begun) resolve()
        return begun && { ...begun, startedAt: begun.startedAt - LOCK_MS }
      }
    })
    const { end } = worker.ends
    worker.ends.end = async (...args) => {
      const answer = await end.apply(worker.ends, args)
      await broker.redis.set(ours.toKey(`${jobIdOf(next)}:lock`), 'of another worker')
      return answer
    }
    const next = randomUUID()
    const first = await broker.submit({ type })
    await broker.submit({ type, id: next })
    await isLeft
    await worker.stop()
    expect(called).toEqual([first])
    expect(await broker.tasks.load(next)).toMatchObject({ state: 'running', handedBackRun: null })
  })
})

describe('a worker that drains', () => {
  test('gives back a run that began while it was told to, at the cost of no attempt', async () => {
    const type = `probe-${randomUUID()}`
    const first = startTestWorker(broker, [{ type, run: () => null }], { concurrency: 1 })
    // BullMQ hears of the next job only after the end has been answered.
    const end = first.ends.end.bind(first.ends)
    const stopped = new Promise<void>(resolve => {
      first.ends.end = async (...args) => {
        const answer = await end(...args)
        resolve(first.stop())
        return answer
      }
    })
    const [, next] = await Promise.all([broker.submit({ type }), broker.submit({ type })])
    await stopped
    const task = await broker.tasks.load(next)
    expect(await broker.types(next)).toEqual(['queued', 'started'])
    expect(task).toMatchObject({ state: 'running', run: 1, handedBackRun: 1 })
    expect(await ours.getJobCounts('wait', 'active')).toEqual({ wait: 1, active: 0 })
    const second = startTestWorker(broker, [{ type, run: () => null }])
    expect(await broker.ended(next)).toMatchObject({ state: 'completed', run: 2, lostRuns: 0, attempt: 1 })
    await second.stop()
    expect(await broker.redis.zcard(OPEN_KEY)).toBe(0)
  })
})

import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { Registry } from 'prom-client'
import { INDEX_KEY, OPEN_KEY, taskMember } from '../../shared/keys.ts'
import { TaskQueue } from '../../shared/task-queue.ts'
import { createWorkerMetrics } from '../../worker/metrics.ts'
import { Reconciler } from '../../worker/reconciler.ts'
import { RedisSweep } from '../../worker/redis-sweep.ts'
import { type Broker, silent, startBroker, startTestWorker } from './worker-fixture.ts'

const MINUTE_MS = 60_000
let broker: Broker

beforeAll(async () => {
  broker = await startBroker()
})
afterAll(() => broker.close())
beforeEach(() => broker.redis.flushall())

function createReconciler(workerName = 'worker') {
  const metrics = createWorkerMetrics(new Registry(), ['known'])
  const { tasks, queue } = broker
  const sweep = new RedisSweep(broker.redis)
  return new Reconciler({ sweep, tasks, queue, types: new Set(['known']), metrics, workerName, log: silent })
}

/** A round as it would come that much later. */
async function round(laterMs = 0): Promise<void> {
  await broker.redis.del('mr:reconciler')
  await createReconciler().round(Date.now() + laterMs)
}

const open = () => broker.redis.zcard('mr:open')
const listed = () => broker.redis.zcard('mr:index')
const withoutJob = async (id: string) => (await broker.queue.withoutJob([id])).length === 1

describe('the reconciler', () => {
  test('leaves a task alone that waits as it should', async () => {
    const id = await broker.submit({ type: 'known', delayMs: MINUTE_MS })
    await round(10 * MINUTE_MS)
    expect(await broker.types(id)).toEqual(['queued'])
    expect([await open(), await listed()]).toEqual([1, 1])
  })

  test('queues an open task again whose job is missing, and it runs', async () => {
    const type = `probe-${randomUUID()}`
    const id = await broker.submit({ type, priority: 3 })
    await broker.queue.remove(id)
    await round()
    expect(await withoutJob(id)).toBe(true)
    await round(MINUTE_MS)
    expect(await withoutJob(id)).toBe(false)
    const worker = startTestWorker(broker, [{ type, run: () => 'done' }])
    expect(await broker.ended(id)).toMatchObject({ state: 'completed', run: 1 })
    await worker.stop()
  })

  test('queues a delayed one for its time', async () => {
    const id = await broker.submit({ type: 'known', delayMs: 60 * MINUTE_MS })
    await broker.queue.remove(id)
    await round(MINUTE_MS)
    expect((await broker.queue.counts()).scheduled).toBe(1)
  })

  test('expires a task that was not started in time, and takes its job out', async () => {
    const id = await broker.submit({ type: 'known', expiresInMs: MINUTE_MS })
    await round()
    expect(await broker.types(id)).toEqual(['queued'])
    await round(MINUTE_MS)
    expect(await broker.tasks.load(id)).toMatchObject({ state: 'expired' })
    expect(await broker.types(id)).toEqual(['queued', 'expired'])
    expect(await withoutJob(id)).toBe(true)
    expect(await open()).toBe(0)
  })

  test('lets go of a task that has ended', async () => {
    const id = await broker.submit({ type: 'known' })
    await broker.redis.hset(`mr:{task:${id}}:state`, 'state', 'completed')
    await round()
    expect([await open(), await listed()]).toEqual([0, 1])
  })

  test('lets go of entries without a record, but not at once', async () => {
    const member = taskMember({ id: 'nobody', createdAt: Date.now() })
    for (const key of [OPEN_KEY, INDEX_KEY]) await broker.redis.zadd(key, 0, member)
    await round()
    expect([await open(), await listed()]).toEqual([1, 1])
    await round(2 * MINUTE_MS)
    expect([await open(), await listed()]).toEqual([0, 0])
  })

  test('comes through more entries than one step reads', async () => {
    const old = Date.now() - 10 * MINUTE_MS
    const pipeline = broker.redis.pipeline()
    for (let i = 0; i < 700; i++) {
      pipeline.zadd('mr:index', '0', `${old}:kept-${i}`)
      pipeline.hset(`mr:{task:kept-${i}}:state`, {
        state: 'completed',
        fixed: JSON.stringify({ createdAt: old }),
      })
    }
    for (let i = 0; i < 700; i++) pipeline.zadd('mr:index', '0', `${old + 1}:gone-${i}`)
    await pipeline.exec()
    await round()
    const left = await broker.redis.zrange('mr:index', '0', '-1')
    expect(left).toHaveLength(700)
    expect(left.filter(member => member.includes('gone'))).toEqual([])
  })

  test('does not run at the same time on two workers', async () => {
    await broker.submit({ type: 'known', expiresInMs: MINUTE_MS / 2 })
    await createReconciler('first').round(Date.now())
    await createReconciler('second').round(Date.now() + MINUTE_MS)
    expect(await open()).toBe(1)
    expect(await broker.redis.get('mr:reconciler')).toBe('first')
  })

  test('does not queue a task again that ends between its steps', async () => {
    const { tasks, redis } = broker
    const racing = new TaskQueue(redis, tasks)
    const id = randomUUID()
    const endingMeanwhile = Object.assign(Object.create(racing), {
      async withoutJob(ids: string[]) {
        const jobless = await racing.withoutJob(ids)
        await broker.redis.hset(`mr:{task:${id}}:state`, 'state', 'completed')
        return jobless
      },
    })
    await broker.submit({ type: 'known', id })
    await racing.remove(id)
    const metrics = createWorkerMetrics(new Registry(), [])
    await new Reconciler({
      sweep: new RedisSweep(redis),
      tasks,
      queue: endingMeanwhile,
      types: new Set(),
      metrics,
      workerName: 'worker',
      log: silent,
    }).round(Date.now() + MINUTE_MS)
    expect(await withoutJob(id)).toBe(true)
  })
})

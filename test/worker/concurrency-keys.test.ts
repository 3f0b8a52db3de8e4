import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { Registry } from 'prom-client'
import { createWorkerMetrics } from '../../worker/metrics.ts'
import { QueueState } from '../../worker/queue-state.ts'
import { Reconciler } from '../../worker/reconciler.ts'
import { RedisSweep } from '../../worker/redis-sweep.ts'
import { until } from '../support/until.ts'
import { type Broker, type Submission, silent, startBroker, startTestWorker } from './worker-fixture.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS

let broker: Broker
let workers: ReturnType<typeof startTestWorker>[] = []
/** The ids of the tasks whose handlers run, in the order in which they began, with what lets each of them end. */
let gates: Map<string, (result?: Error) => void>
/** All that have begun. */
let begun: string[]
let mostAtOnce: number

beforeAll(async () => {
  broker = await startBroker()
})
afterAll(() => broker.close())
beforeEach(async () => {
  await broker.redis.flushall()
  workers = []
  gates = new Map()
  begun = []
  mostAtOnce = 0
})
afterEach(async () => {
  for (const open of gates.values()) open()
  await Promise.all(workers.map(worker => worker.stop()))
})

/** A worker of gated tasks: each runs until `open` lets it go. */
function startGated(concurrency = 10) {
  const worker = startTestWorker(
    broker,
    [
      {
        type: 'gated',
        run: (_, context) =>
          new Promise((resolve, reject) => {
            begun.push(context.id)
            gates.set(context.id, error => {
              gates.delete(context.id)
              if (error) reject(error)
              else resolve('done')
            })
            context.signal.addEventListener('abort', () => gates.get(context.id)?.(new Error('stopped')))
            mostAtOnce = Math.max(mostAtOnce, gates.size)
          }),
      },
    ],
    { concurrency },
  )
  workers.push(worker)
  return worker
}

const running = () => [...gates.keys()]
const untilRunning = (...ids: string[]) =>
  until(`exactly ${ids} to run`, () => running().toSorted().join() === ids.toSorted().join())
const untilBegun = (count: number) => until(`${count} to have begun`, () => begun.length >= count)
function open(id: string, error?: Error): void {
  const gate = gates.get(id)
  if (!gate) throw new Error(`${id} does not run`)
  gate(error)
}

const submit = (id: string, more: Partial<Submission> = {}) =>
  broker.submit({ type: 'gated', id, concurrencyKey: 'acme', concurrencyLimit: 2, ...more })
const state = async (id: string) => (await broker.tasks.load(id))?.state
const counts = () => broker.queue.counts()
/** All that is kept of concurrency keys, but for the count of all that were ever held back. */
const traces = async () =>
  (await broker.redis.keys('{mr}:*')).filter(
    key => /^\{mr\}:(key|held)/.test(key) && key !== '{mr}:held:count',
  )

async function round(laterMs = MINUTE_MS): Promise<void> {
  await broker.redis.del('mr:reconciler')
  const { tasks, queue } = broker
  const metrics = createWorkerMetrics(new Registry(), [])
  const sweep = new RedisSweep(broker.redis)
  const parts = { sweep, tasks, queue, types: new Set<string>(), metrics, workerName: 'worker', log: silent }
  await new Reconciler(parts).round(Date.now() + laterMs)
}

describe('tasks with a concurrency key', () => {
  test('run no more than its limit at once, over several workers, and all of them run', async () => {
    for (let i = 0; i < 3; i++) startGated()
    const ids = await Promise.all(Array.from({ length: 12 }, (_, i) => submit(`t-${i}`)))
    for (let done = 0; done < ids.length; done++) {
      await untilBegun(Math.min(done + 2, ids.length))
      open(running()[0] ?? '')
    }
    await Promise.all(ids.map(id => broker.ended(id)))
    expect(begun.toSorted()).toEqual(ids.toSorted())
    expect(mostAtOnce).toBe(2)
    await until('nothing to be left', async () => (await traces()).length === 0)
  })

  test('do not hold up those of other keys, or without one', async () => {
    startGated()
    for (const id of ['a-1', 'a-2', 'a-3']) await submit(id)
    await submit('b-1', { concurrencyKey: 'other' })
    await broker.submit({ type: 'gated', id: 'none' })
    await untilRunning('a-1', 'a-2', 'b-1', 'none')
    expect(await state('a-3')).toBe('queued')
  })

  test('go by their own limit where it differs', async () => {
    startGated()
    for (const id of ['a-1', 'a-2', 'a-3']) await submit(id, { concurrencyLimit: 3 })
    await submit('alone', { concurrencyLimit: 1 })
    await untilRunning('a-1', 'a-2', 'a-3')
    open('a-1')
    open('a-2')
    await untilRunning('a-3')
    open('a-3')
    await untilRunning('alone')
  })

  test('run in order of priority, then of submission', async () => {
    startGated()
    const task = { concurrencyLimit: 1 }
    for (const id of ['first', 'second', 'third']) await submit(id, task)
    await submit('urgent', { ...task, priority: 1 })
    await submit('later', { ...task, priority: 7 })
    for (const id of ['first', 'second', 'third', 'urgent', 'later']) {
      await untilRunning(id)
      open(id)
    }
  })

  test('leave their room to others between two attempts', async () => {
    startGated()
    const task = { concurrencyLimit: 1 }
    await submit('failing', { ...task, attempts: 2, backoff: { type: 'fixed', delayMs: HOUR_MS } })
    await submit('next', task)
    await untilRunning('failing')
    open('failing', new Error('once'))
    await untilRunning('next')
    expect(await state('failing')).toBe('scheduled')
  })

  test('wait for room when their delay is over, as queued ones', async () => {
    startGated()
    const task = { concurrencyLimit: 1 }
    await submit('put-off', { ...task, delayMs: 300 })
    await submit('now', task)
    await untilRunning('now')
    await broker.reached('put-off', 'queued', 2)
    await until('it to be held back', async () => (await counts()).held === 1)
    expect(await state('put-off')).toBe('queued')
    open('now')
    await untilRunning('put-off')
    expect(await broker.types('put-off')).toEqual(['queued', 'queued', 'started'])
  })

  test('give their room back when their worker shuts down, with the task', async () => {
    const leaving = startGated()
    const task = { concurrencyLimit: 1 }
    await submit('first', task)
    await submit('second', task)
    await untilRunning('first')
    await leaving.stop()
    expect(await state('first')).toBe('running')
    startGated()
    await untilRunning('first')
    expect(begun).toEqual(['first', 'first'])
    open('first')
    await untilRunning('second')
  })
})

describe('a tenant with thousands of queued tasks', () => {
  test('delays a single task of another one by less than one of its tasks takes', async () => {
    startGated(2)
    const flood = Array.from({ length: 10_000 }, (_, i) => `flood-${i}`)
    // So that the limit is of no help.
    for (let i = 0; i < flood.length; i += 1_000)
      await Promise.all(flood.slice(i, i + 1_000).map(id => submit(id, { concurrencyLimit: 1_000 })))
    await untilBegun(2)
    expect((await counts()).queued).toBe(1)
    await submit('single', { concurrencyKey: 'other' })
    const [one = '', another = ''] = running()
    open(one)
    await untilBegun(3)
    open(another)
    await untilRunning(begun[2] ?? '', 'single')
    await broker.redis.flushall()
  }, 60_000)

  test('takes turns with others that have as many', async () => {
    startGated(1)
    for (const key of ['a', 'b', 'c']) {
      for (let i = 1; i <= 5; i++) await submit(`${key}-${i}`, { concurrencyKey: key, concurrencyLimit: 10 })
    }
    for (let done = 0; done < 15; done++) {
      await untilBegun(done + 1)
      open(begun[done] ?? '')
    }
    const rounds = Array.from({ length: 4 }, (_, i) => begun.slice(1 + i * 3, 4 + i * 3))
    for (const round of rounds) expect(new Set(round.map(id => id[0])).size).toBe(3)
  })
})

describe('a task that is held back', () => {
  beforeEach(async () => {
    startGated()
    await submit('first', { concurrencyLimit: 1 })
    await untilRunning('first')
    await submit('second', { concurrencyLimit: 1 })
    await submit('third', { concurrencyLimit: 1 })
  })

  test('is queued to callers, and counted apart', async () => {
    expect([await state('second'), await broker.types('second')]).toEqual(['queued', ['queued']])
    expect(await counts()).toEqual({ queued: 0, running: 1, scheduled: 0, held: 2 })
    await broker.putBack('second', HOUR_MS)
    const seen = await new QueueState(broker.queue, broker.tasks, () => true).read()
    expect(seen).toMatchObject({ oldestMs: 0 })
  })

  test('is left alone by the reconciler', async () => {
    await round()
    expect(await counts()).toMatchObject({ queued: 0, held: 2 })
  })

  test('can be cancelled, and the next one has its place', async () => {
    await broker.queue.cancel('second')
    expect(await state('second')).toBe('cancelled')
    expect((await counts()).held).toBe(1)
    open('first')
    await untilRunning('third')
    open('third')
    await broker.ended('third')
    expect(begun).toEqual(['first', 'third'])
  })

  test('expires', async () => {
    await submit('short', { concurrencyLimit: 1, expiresInMs: MINUTE_MS, priority: 1 })
    await round(2 * MINUTE_MS)
    expect(await state('short')).toBe('expired')
    expect((await counts()).held).toBe(2)
  })
})

describe('a task that waits in the queue for a worker', () => {
  test('leaves its room to the next one when it is cancelled or expires', async () => {
    await submit('cancelled', { concurrencyLimit: 1 })
    await submit('expired', { concurrencyLimit: 1, expiresInMs: MINUTE_MS })
    await submit('last', { concurrencyLimit: 1 })
    await broker.queue.cancel('cancelled')
    expect(await counts()).toMatchObject({ queued: 1, held: 1 })
    await round(2 * MINUTE_MS)
    expect(await state('expired')).toBe('expired')
    startGated()
    await untilRunning('last')
  })
})

describe('what a process leaves behind that is lost in the middle of a step', () => {
  test.each([
    ['a task that was let go but not queued', () => broker.queue.remove('first')],
    ['a slot whose task has ended', () => end('first')],
    ['a slot whose task is gone', () => broker.redis.del('mr:{task:first}:state')],
  ])('%s is set right by the reconciler', async (_, lose) => {
    await submit('first', { concurrencyLimit: 1 })
    await submit('second', { concurrencyLimit: 1 })
    await lose()
    await round()
    startGated()
    await untilBegun(1)
    if (running()[0] === 'first') open('first')
    await untilRunning('second')
  })

  test('a place in line of a task that has ended is passed over', async () => {
    startGated()
    await submit('first', { concurrencyLimit: 1 })
    await untilRunning('first')
    for (const id of ['gone', 'over', 'last']) await submit(id, { concurrencyLimit: 1 })
    await broker.redis.del('mr:{task:gone}:state')
    await broker.redis.hset('mr:{task:over}:state', 'state', 'cancelled')
    open('first')
    await untilRunning('last')
  })

  async function end(id: string): Promise<void> {
    await broker.queue.remove(id)
    await broker.redis.hset(`mr:{task:${id}}:state`, 'state', 'completed')
  }
})

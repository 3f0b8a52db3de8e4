import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals'
import { z } from 'zod'
import type { EventLog } from '../../shared/event-log.ts'
import type { TaskContext, TaskDefinition } from '../../worker/define-task.ts'
import { until } from '../support/until.ts'
import { type Broker, startBroker, startTestWorker } from './worker-fixture.ts'

let broker: Broker
const workers: { stop(): Promise<void> }[] = []

beforeAll(async () => {
  broker = await startBroker()
})
afterAll(() => broker.close())
afterEach(async () => {
  await Promise.all(workers.splice(0).map(worker => worker.stop()))
})

/** A worker with one handler of a type of its own, so that tests don't take each other's tasks. */
function work(
  run: TaskDefinition['run'],
  options: Partial<TaskDefinition> & { log?: EventLog } = {},
): string {
  const { log, ...definition } = options
  const type = definition.type ?? `probe-${randomUUID()}`
  workers.push(startTestWorker(broker, [{ ...definition, type, run }], log ? { log } : {}))
  return type
}

/** Ends when it is told to, as a well-behaved handler does. */
async function untilAborted(_input: unknown, { signal }: TaskContext): Promise<void> {
  await once(signal, 'abort')
  throw signal.reason
}

describe('a task', () => {
  test('runs once, and its events tell of it in order', async () => {
    const type = work(async (input, context) => {
      await context.progress(50, 'half')
      await context.output({ got: input })
      return { id: context.id, attempt: context.attempt }
    })
    const id = await broker.submit({ type, input: { n: 1 } })
    const task = await broker.ended(id)
    expect(task).toMatchObject({ state: 'completed', attempt: 1, run: 1, result: { id, attempt: 1 } })
    expect(task.startedAt).not.toBeNull()
    expect(task.finishedAt).not.toBeNull()
    const events = await broker.events(id)
    expect(events.map(event => event.type)).toEqual(['queued', 'started', 'progress', 'output', 'completed'])
    expect(events[1]?.data).toMatchObject({ taskId: id, attempt: 1, worker: 'worker', run: 1 })
    expect(events.at(-1)?.data.result).toEqual({ id, attempt: 1 })
  })

  test('leaves neither a job nor an entry among the open ones behind', async () => {
    const type = work(() => null)
    const id = await broker.submit({ type })
    await broker.ended(id)
    await until('the job to go', async () => (await broker.queue.withoutJob([id])).length === 1)
    await until('it not to be open', async () => {
      const open = await broker.redis.zrange('mr:open', '0', '-1')
      return !open.some(member => member.endsWith(id))
    })
  })

  test('with a delay says when it is due, and runs then', async () => {
    const type = work(() => null)
    const id = await broker.submit({ type, delayMs: 300 })
    await broker.ended(id)
    const events = await broker.events(id)
    expect(events.map(event => event.type)).toEqual(['queued', 'queued', 'started', 'completed'])
    expect(events.map(event => event.data.state).slice(0, 2)).toEqual(['scheduled', 'queued'])
    expect(events[2]!.time).toBeGreaterThanOrEqual(Date.parse(events[0]!.data.runAt))
  })

  test('gets its input as the schema makes it', async () => {
    const input = z.object({ n: z.int().default(7) })
    const type = work(given => given, { input })
    expect(await broker.ended(await broker.submit({ type }))).toMatchObject({ result: { n: 7 } })
  })

  test('with input that its handler does not take fails at once and says where', async () => {
    let calls = 0
    const type = work(() => calls++, { input: z.object({ n: z.int() }) })
    const id = await broker.submit({ type, input: { n: 'x' }, attempts: 3 })
    const task = await broker.ended(id)
    expect(task).toMatchObject({
      state: 'failed',
      attempt: 1,
      error: { code: 'invalid-input', retryable: false },
    })
    expect(task.error?.message).toMatch(/^n: /)
    expect(await broker.types(id)).toEqual(['queued', 'started', 'failed'])
    expect(calls).toBe(0)
  })

  test('of a type that a worker does not have waits for one that does, at no cost', async () => {
    const type = `probe-${randomUUID()}`
    work(() => null)
    const id = await broker.submit({ type })
    await until('it to be handed on', async () => (await broker.queue.counts()).scheduled === 1)
    work(() => 'here', { type })
    expect(await broker.ended(id)).toMatchObject({ state: 'completed', attempt: 1, run: 1 })
    expect(await broker.types(id)).toEqual(['queued', 'started', 'completed'])
  })

  test('that was not started in time expires instead of running', async () => {
    let calls = 0
    const type = `probe-${randomUUID()}`
    const id = await broker.submit({ type, expiresInMs: 1 })
    work(() => calls++, { type })
    expect(await broker.ended(id)).toMatchObject({ state: 'expired', startedAt: null })
    expect(await broker.types(id)).toEqual(['queued', 'expired'])
    expect(calls).toBe(0)
  })

  test('that has lost five runs is failed and not run again', async () => {
    let calls = 0
    const type = `probe-${randomUUID()}`
    const id = await broker.submit({ type, attempts: 3 })
    await broker.redis.hset(`mr:{task:${id}}:state`, { state: 'running', run: 5, lostRuns: 4, startedAt: 1 })
    work(() => calls++, { type })
    expect(await broker.ended(id)).toMatchObject({ state: 'failed', error: { code: 'worker-lost' } })
    expect(calls).toBe(0)
  })

  test('whose record is gone is forgotten', async () => {
    const type = `probe-${randomUUID()}`
    await broker.queue.enqueue({ id: 'nobody', type, priority: 0, delayMs: 0 })
    work(() => null, { type })
    await until('the job to go', async () => (await broker.queue.withoutJob(['nobody'])).length === 1)
  })

  test('whose start is sent twice runs once', async () => {
    const twice = Object.create(broker.log) as EventLog
    twice.appendToTask = async (id, events, write) => {
      const answer = await broker.log.appendToTask(id, events, write)
      return events[0]?.type === 'started' ? broker.log.appendToTask(id, events, write) : answer
    }
    const type = work(() => 'done', { log: twice })
    const id = await broker.submit({ type })
    expect(await broker.ended(id)).toMatchObject({ state: 'completed', run: 1 })
    expect(await broker.types(id)).toEqual(['queued', 'started', 'completed'])
  })
})

describe('a failed attempt', () => {
  test('is followed by another one after its pause, until one succeeds', async () => {
    const type = work((_input, { attempt }) => {
      if (attempt < 3) throw Object.assign(new Error(`no ${attempt}`), { code: 'flaky' })
      return attempt
    })
    const backoff = { type: 'exponential', delayMs: 50 } as const
    const id = await broker.submit({ type, attempts: 5, backoff })
    expect(await broker.ended(id)).toMatchObject({
      state: 'completed',
      attempt: 3,
      attempts: 5,
      run: 3,
      result: 3,
    })
    const round = ['queued', 'started', 'retrying']
    expect(await broker.types(id)).toEqual([...round, ...round, 'queued', 'started', 'completed'])
    const events = await broker.events(id)
    const retrying = events.filter(event => event.type === 'retrying')
    expect(retrying.map(event => event.data.error)).toEqual([
      { code: 'flaky', message: 'no 1', retryable: true },
      { code: 'flaky', message: 'no 2', retryable: true },
    ])
    const pauses = retrying.map(event => Date.parse(event.data.nextAttemptAt) - event.time)
    expect(pauses).toEqual([50, 100])
    expect(events.filter(event => event.type === 'started').map(event => event.data.attempt)).toEqual([
      1, 2, 3,
    ])
  })

  test("pauses as its handler says when the task doesn't say otherwise", async () => {
    const type = work(
      () => {
        throw new Error('no')
      },
      { backoff: { type: 'fixed', delayMs: 20 } },
    )
    const id = await broker.submit({ type, attempts: 2 })
    await broker.ended(id)
    const retrying = await broker.reached(id, 'retrying')
    expect(Date.parse(retrying.data.nextAttemptAt) - retrying.time).toBe(20)
  })

  test('fails the task when it was the last, or is not retryable', async () => {
    const type = work((_input, { attempt }) => {
      throw Object.assign(new Error(`no ${attempt}`), { retryable: attempt < 2 })
    })
    const id = await broker.submit({ type, attempts: 9 })
    expect(await broker.ended(id)).toMatchObject({
      state: 'failed',
      attempt: 2,
      error: { code: 'handler-error', message: 'no 2', retryable: false },
    })
  })

  test.each([
    ['a string', () => Promise.reject('text'), { code: 'handler-error', message: 'text' }],
    ['null', () => Promise.reject(null), { code: 'handler-error' }],
    [
      'an error that is its own cause',
      () => {
        const error = new Error('round')
        error.cause = error
        throw error
      },
      { message: 'round' },
    ],
    ['a result that is not JSON', () => 1n, { code: 'result-not-serializable', retryable: false }],
    ['a result over 1 MiB', () => 'x'.repeat(1024 * 1024), { code: 'result-too-large', retryable: false }],
    [
      'an event that is too large',
      (_: unknown, context: TaskContext) => context.output('x'.repeat(70_000)),
      { code: 'event-too-large' },
    ],
  ])('is what comes of %s', async (_what, run, error) => {
    const type = work(run)
    expect(await broker.ended(await broker.submit({ type }))).toMatchObject({ state: 'failed', error })
  })

  test('is what comes of a timeout, and the handler hears of it', async () => {
    const reasons: unknown[] = []
    const type = work(async (_input, { signal }) => {
      await once(signal, 'abort')
      reasons.push(signal.reason)
      return 'too late'
    })
    const id = await broker.submit({ type, attempts: 2, timeoutMs: 30 })
    expect(await broker.ended(id)).toMatchObject({
      state: 'failed',
      attempt: 2,
      error: { code: 'timeout', retryable: true },
    })
    expect(reasons).toMatchObject([{ code: 'timeout' }, { code: 'timeout' }])
  })
})

describe('a cancellation', () => {
  test('ends a task that waits, at once, and it does not run', async () => {
    let calls = 0
    const type = work(() => calls++)
    const id = await broker.submit({ type, delayMs: 100 })
    await broker.queue.cancel(id, 'changed my mind')
    await broker.ended(await broker.submit({ type, delayMs: 150 }))
    expect(await broker.types(id)).toEqual(['queued', 'cancelled'])
    expect((await broker.events(id)).at(-1)?.data.reason).toBe('changed my mind')
    expect(calls).toBe(1)
  })

  test('stops a running task through its signal, and gives its reason in the end', async () => {
    const reasons: unknown[] = []
    const type = work((input, context) => {
      context.signal.addEventListener('abort', () => reasons.push(context.signal.reason))
      return untilAborted(input, context)
    })
    const id = await broker.submit({ type, attempts: 3 })
    await broker.reached(id, 'started')
    await broker.queue.cancel(id, 'enough')
    expect(await broker.ended(id)).toMatchObject({ state: 'cancelled', attempt: 1 })
    expect(await broker.types(id)).toEqual(['queued', 'started', 'cancelling', 'cancelled'])
    expect((await broker.events(id)).at(-1)?.data.reason).toBe('enough')
    expect(reasons).toMatchObject([{ name: 'AbortError', code: 'cancelled' }])
  })

  test('reaches a running task whose message got lost', async () => {
    const type = work(untilAborted)
    const id = await broker.submit({ type })
    await broker.reached(id, 'started')
    await broker.redis.hset(`mr:{task:${id}}:state`, 'cancel', '1')
    expect(await broker.ended(id)).toMatchObject({ state: 'cancelled' })
  })

  test('wins over a result that comes after it', async () => {
    const id = randomUUID()
    const type = work(async () => {
      await broker.redis.hset(`mr:{task:${id}}:state`, 'cancel', '1')
      return 'done'
    })
    await broker.submit({ type, id })
    expect(await broker.ended(id)).toMatchObject({ state: 'cancelled', result: null })
  })

  test('wins over a retry', async () => {
    const id = randomUUID()
    const type = work(async () => {
      await broker.redis.hset(`mr:{task:${id}}:state`, 'cancel', '1')
      throw new Error('no')
    })
    await broker.submit({ type, id, attempts: 5 })
    expect(await broker.ended(id)).toMatchObject({ state: 'cancelled', attempt: 1 })
  })

  test('ends a task whose handler does not heed it, and nothing is heard of that any more', async () => {
    const refused = new Promise<string>(resolve => {
      work(
        async (_input, context) => {
          try {
            for (;;) {
              await context.output('still here')
              await sleep(100)
            }
          } catch (error) {
            resolve((error as { code: string }).code)
          }
        },
        { type: 'stubborn' },
      )
    })
    const id = await broker.submit({ type: 'stubborn' })
    await broker.reached(id, 'started')
    await broker.queue.cancel(id)
    expect(await broker.ended(id)).toMatchObject({ state: 'cancelled' })
    expect(await refused).toBe('run-ended')
    expect((await broker.types(id)).at(-1)).toBe('cancelled')
  })
})

describe('a worker that drains', () => {
  test('lets its tasks end by themselves while its grace lasts', async () => {
    let finish = () => undefined as unknown
    const type = `probe-${randomUUID()}`
    const worker = startTestWorker(broker, [
      { type, run: () => new Promise(resolve => (finish = () => resolve('in time'))) },
    ])
    const id = await broker.submit({ type })
    await broker.reached(id, 'started')
    const stopped = worker.stop(60_000)
    finish()
    await stopped
    expect(await broker.tasks.load(id)).toMatchObject({ state: 'completed', result: 'in time', run: 1 })
  })

  test('takes no further task', async () => {
    const type = `probe-${randomUUID()}`
    const worker = startTestWorker(broker, [{ type, run: () => null }])
    await worker.stop()
    const id = await broker.submit({ type })
    work(() => null, { type })
    await broker.ended(id)
    expect((await broker.reached(id, 'started')).data.run).toBe(1)
  })

  test('hands back what does not end in time, heeding or not, without costing an attempt or a lost run', async () => {
    const type = `probe-${randomUUID()}`
    const reasons: unknown[] = []
    const worker = startTestWorker(broker, [
      {
        type,
        async run({ heeds }: { heeds: boolean }, { signal }) {
          signal.addEventListener('abort', () => reasons.push(signal.reason))
          await (heeds ? once(signal, 'abort') : new Promise(() => undefined))
          throw signal.reason
        },
      } as TaskDefinition,
    ])
    const ids = await Promise.all([true, false].map(heeds => broker.submit({ type, input: { heeds } })))
    for (const id of ids) await broker.reached(id, 'started')
    await worker.stop()
    expect(await broker.queue.counts()).toMatchObject({ queued: 2, running: 0, scheduled: 0 })
    work(() => 'elsewhere', { type })
    for (const id of ids) {
      expect(await broker.ended(id)).toMatchObject({ state: 'completed', attempt: 1, run: 2, lostRuns: 0 })
      expect(await broker.types(id)).toEqual(['queued', 'started', 'started', 'completed'])
    }
    expect(reasons).toMatchObject([{ code: 'drain' }, { code: 'drain' }])
  })
})

test('a task that lost its lock is left to the worker that takes it over', async () => {
  const type = `probe-${randomUUID()}`
  const seen: string[] = []
  const run: TaskDefinition['run'] = async (_input, { signal, output }) => {
    if (seen.push('run') > 1) return 'second'
    await once(signal, 'abort')
    seen.push(signal.reason.code)
    await output('from beyond').catch(error => seen.push(error.code))
    return 'first'
  }
  work(run, { type })
  const id = await broker.submit({ type })
  await broker.reached(id, 'started')
  await broker.redis.set(`{mr}:tasks:task.${id}:lock`, 'somebody else', 'PX', 600_000)
  await until('its run to hear of it', () => seen.includes('run-ended'))
  await broker.redis.del(`{mr}:tasks:task.${id}:lock`)
  expect(await broker.ended(id)).toMatchObject({ state: 'completed', result: 'second', attempt: 1, run: 2 })
  expect(seen).toEqual(['run', 'lock-lost', 'run-ended', 'run'])
  expect(await broker.types(id)).toEqual(['queued', 'started', 'started', 'completed'])
})

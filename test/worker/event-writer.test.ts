import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from '@jest/globals'
import type { EventLog, TaskAppend } from '../../shared/event-log.ts'
import { ended } from '../../shared/task-transitions.ts'
import type { TaskContext } from '../../worker/define-task.ts'
import { EventWriter } from '../../worker/event-writer.ts'
import { createTaskContext } from '../../worker/task-context.ts'
import { until } from '../support/until.ts'
import { taskRecord } from './task-record-fixture.ts'
import { type Broker, silent, startBroker } from './worker-fixture.ts'

const RUN = 1
let broker: Broker
const writers: EventWriter[] = []

beforeAll(async () => {
  broker = await startBroker()
})
afterAll(() => broker.close())
afterEach(() => {
  for (const writer of writers.splice(0)) writer.close()
})

/** A running task with a writer whose appends go through `log`, and the context of its handler. */
async function openRun(log: Pick<EventLog, 'appendToTask'> = broker.log) {
  const task = taskRecord({ id: randomUUID(), state: 'running', run: RUN })
  await broker.log.appendToTask(task.id, [{ type: 'started', time: 1, format: 'json', data: '{}' }], {
    from: [],
    set: { fixed: JSON.stringify({ id: task.id }), state: 'running', run: RUN },
  })
  const seen = { cancelled: 0, fenced: 0 }
  const writer = new EventWriter(
    log as EventLog,
    {
      taskId: task.id,
      run: RUN,
      onCancelRequested: () => seen.cancelled++,
      onFenced: () => seen.fenced++,
    },
    silent,
  )
  writers.push(writer)
  const context = createTaskContext(task, new AbortController(), writer)
  const finish = () =>
    writer.finish(ended(task, { state: 'completed', result: null }, { run: RUN, now: Date.now() }))
  return { task, writer, context, finish, seen, events: () => broker.events(task.id) }
}

/** The real log behind a gate: appends wait until it is opened. */
function gatedLog() {
  let open: () => void = () => undefined
  const gate = new Promise<void>(resolve => {
    open = resolve
  })
  const batches: number[] = []
  const log: Pick<EventLog, 'appendToTask'> = {
    async appendToTask(id, events, write) {
      batches.push(events.length)
      await gate
      return broker.log.appendToTask(id, events, write)
    },
  }
  return { log, batches, open }
}

const code = (call: Promise<unknown>) =>
  call.then(
    () => 'recorded',
    error => error.code,
  )

describe('the events of a run', () => {
  test('are in the log, in order and with their data, when their calls resolve', async () => {
    const { task, context, events } = await openRun()
    await context.log('begun', 'warn')
    await context.output({ rows: [1, 2] })
    await context.emit('thumbnail', { ready: true })
    await context.progress(40, 'row 4', { row: 4 })
    await context.output(undefined)
    const common = { taskId: task.id, attempt: 1, time: expect.any(String) }
    expect((await events()).slice(1).map(({ type, data }) => [type, data])).toEqual([
      ['log', { ...common, level: 'warn', message: 'begun' }],
      ['output', { ...common, chunk: { rows: [1, 2] } }],
      ['thumbnail', { ...common, data: { ready: true } }],
      ['progress', { ...common, percent: 40, message: 'row 4', details: { row: 4 } }],
      ['output', { ...common, chunk: null }],
    ])
  })

  test('gather in one append while another is under way, none merged and none out of order', async () => {
    const { log, batches, open } = gatedLog()
    const { context, events } = await openRun(log)
    const first = context.output(0)
    await until('the first append', () => batches.length === 1)
    const others = Array.from({ length: 50 }, (_, i) => context.output(i + 1))
    open()
    await Promise.all([first, ...others])
    expect(batches).toEqual([1, 50])
    const chunks = (await events()).slice(1).map(event => event.data.chunk)
    expect(chunks).toEqual(Array.from({ length: 51 }, (_, i) => i))
  })

  test('happen once when an append is sent twice', async () => {
    const twice: Pick<EventLog, 'appendToTask'> = {
      async appendToTask(...call) {
        await broker.log.appendToTask(...call)
        return broker.log.appendToTask(...call)
      },
    }
    const { context, finish, events } = await openRun(twice)
    await context.output('a')
    await context.output('b')
    expect((await finish()).outcome).toBe('repeated')
    expect((await events()).map(event => event.type)).toEqual(['started', 'output', 'output', 'completed'])
  })

  test('are tried again with the same number when Redis refuses them', async () => {
    let refusals = 2
    const failing: Pick<EventLog, 'appendToTask'> = {
      async appendToTask(...call) {
        const answer = await broker.log.appendToTask(...call)
        if (refusals-- > 0) throw new Error('OOM command not allowed')
        return answer
      },
    }
    const { context, events } = await openRun(failing)
    await context.output('a')
    expect((await events()).map(event => event.type)).toEqual(['started', 'output'])
  })

  test('are waited for while Redis is slow, but not for ever', async () => {
    const { log, open } = gatedLog()
    const { context, events } = await openRun(log)
    jest.useFakeTimers({ doNotFake: ['nextTick', 'setImmediate', 'queueMicrotask', 'performance'] })
    const call = code(context.output('slow'))
    jest.advanceTimersByTime(120_000)
    jest.useRealTimers()
    expect(await call).toBe('event-late')
    open()
    await until('it to be recorded', async () => (await events()).length === 2)
  })

  test('that a handler does not await are refused beyond a bound, and those before it recorded', async () => {
    const { log, open } = gatedLog()
    const { context, events } = await openRun(log)
    const calls = Array.from({ length: 1_200 }, (_, i) => code(context.output(i)))
    open()
    const outcomes = await Promise.all(calls)
    expect(outcomes.filter(outcome => outcome === 'recorded')).toHaveLength(1_000)
    expect(outcomes.filter(outcome => outcome === 'too-many-pending-events')).toHaveLength(200)
    expect((await events()).length).toBe(1_001)
    expect(await code(context.output('again'))).toBe('recorded')
  })

  test('that a handler does not await are refused beyond a bound in bytes', async () => {
    const { log, open } = gatedLog()
    const { context } = await openRun(log)
    const calls = Array.from({ length: 100 }, () => code(context.output('x'.repeat(60_000))))
    open()
    const recorded = (await Promise.all(calls)).filter(outcome => outcome === 'recorded').length
    expect(recorded).toBe(Math.floor((4 * 1024 * 1024) / 60_120))
  })
})

describe('progress', () => {
  test('is merged: the latest is kept, in the log as well as in the record', async () => {
    const { task, context, events } = await openRun()
    const begun = performance.now()
    for (let percent = 0; percent <= 100; percent++) await context.progress(percent, `at ${percent}`)
    const last = await until('the last progress', async () => {
      const event = (await events()).at(-1)
      return event?.data.percent === 100 ? event : null
    })
    expect(last.data.message).toBe('at 100')
    const intervals = (performance.now() - begun) / 50
    expect((await events()).filter(event => event.type === 'progress').length).toBeLessThan(intervals + 2)
    expect((await broker.tasks.load(task.id))?.progress).toEqual({ percent: 100, message: 'at 100' })
  })

  test('is never dropped when it is the last before the end, and stands directly before it', async () => {
    const { context, finish, events } = await openRun()
    for (const percent of [1, 2, 3]) await context.progress(percent)
    void context.output('last').catch(() => undefined)
    await context.progress(99)
    expect((await finish()).outcome).toBe('ok')
    const all = (await events()).slice(-3)
    expect(all.map(event => event.type)).toEqual(['output', 'progress', 'completed'])
    expect(all[1]?.data.percent).toBe(99)
  })

  test('is brought into its bounds, and refused when it is not a number', async () => {
    const { context, events } = await openRun()
    await context.progress(250)
    expect((await until('it', async () => (await events())[1])).data.percent).toBe(100)
    await context.progress(null, 'no idea')
    const unknown = await until('it', async () => (await events())[2])
    expect(unknown.data).not.toHaveProperty('percent')
    expect(await code(context.progress(Number.NaN))).toBe('invalid-progress')
    expect(await code(context.progress('40' as never))).toBe('invalid-progress')
  })

  test('lets the event loop turn, however often it is reported', async () => {
    const { context } = await openRun()
    let turns = 0
    const timer = setInterval(() => turns++, 1)
    for (const end = performance.now() + 200; performance.now() < end; ) await context.progress(1)
    clearInterval(timer)
    expect(turns).toBeGreaterThan(0)
  })
})

describe('what a handler may not say', () => {
  test.each([
    'queued',
    'completed',
    'progress',
    'output',
    'log',
    'error',
    'open',
    'message',
    'gap',
    'snapshot',
    'credential-expired',
  ])('is an event named %s', async name => {
    const { context } = await openRun()
    expect(await code(context.emit(name))).toBe('invalid-event-type')
  })

  test.each(['', 'Upper', '1st', 'with space', 'a'.repeat(65), 'dots.too', null])(
    'is an event named %j',
    async name => {
      const { context } = await openRun()
      expect(await code(context.emit(name as string))).toBe('invalid-event-type')
    },
  )

  test('is more than 64 KiB, counted in bytes and not in characters', async () => {
    const { context, events } = await openRun()
    const tooLarge = 'ä'.repeat(33_000)
    const calls = [context.output(tooLarge), context.emit('own', tooLarge), context.log(tooLarge)]
    expect(await Promise.all(calls.map(code))).toEqual(Array(3).fill('event-too-large'))
    expect(await code(context.output('ä'.repeat(32_000)))).toBe('recorded')
    expect((await events()).map(event => event.type)).toEqual(['started', 'output'])
  })

  test('is what is not JSON', async () => {
    const { context } = await openRun()
    const cyclic: Record<string, unknown> = {}
    cyclic.self = cyclic
    for (const value of [cyclic, 1n, () => 1, Symbol('x')]) {
      expect(await code(context.output(value))).toBe('not-serializable')
      expect(await code(context.emit('own', value))).toBe('not-serializable')
      expect(await code(context.progress(1, 'x', value))).toBe('not-serializable')
    }
  })

  test('is a log line of an unknown level', async () => {
    const { context } = await openRun()
    expect(await code(context.log('x', 'loud' as never))).toBe('invalid-log-level')
  })

  test('is anything once its run has ended', async () => {
    const { context, finish, events } = await openRun()
    await finish()
    const calls: ((context: TaskContext) => Promise<void>)[] = [
      ({ progress }) => progress(1),
      ({ output }) => output(1),
      ({ emit }) => emit('own'),
      ({ log }) => log('x'),
    ]
    for (const call of calls) expect(await code(call(context))).toBe('run-ended')
    expect((await events()).at(-1)?.type).toBe('completed')
  })
})

describe('a run that is no longer the current one', () => {
  test('writes nothing, hears of it, and is refused from then on', async () => {
    const { task, context, finish, seen, events } = await openRun()
    await broker.redis.hset(`mr:{task:${task.id}}:state`, 'run', RUN + 1)
    expect(await code(context.output('late'))).toBe('run-ended')
    expect(await code(context.output('later'))).toBe('run-ended')
    expect((await finish()).outcome).toBe('fenced')
    expect(seen.fenced).toBe(1)
    expect((await events()).map(event => event.type)).toEqual(['started'])
  })

  test('does not keep anybody waiting when it is closed while an append is under way', async () => {
    const { log, batches } = gatedLog()
    const { context, writer, finish } = await openRun(log)
    const output = code(context.output('x'))
    await until('the append', () => batches.length === 1)
    const end: Promise<TaskAppend> = finish()
    writer.close()
    expect(await output).toBe('run-ended')
    expect((await end).outcome).toBe('fenced')
  })
})

describe('a cancellation', () => {
  test('is heard of with the next event', async () => {
    const { task, context, seen } = await openRun()
    await broker.redis.hset(`mr:{task:${task.id}}:state`, 'cancel', '1')
    await context.output('x')
    expect(seen.cancelled).toBe(1)
  })

  test('is given way to by another outcome, and nothing that was said before is lost', async () => {
    const { task, writer, context, finish, events } = await openRun()
    await context.progress(1)
    await until('it', async () => (await events()).length === 2)
    await context.progress(2)
    await broker.redis.hset(`mr:{task:${task.id}}:state`, 'cancel', '1')
    expect((await finish()).outcome).toBe('cancelling')
    const cancelled = ended(task, { state: 'cancelled' }, { run: RUN, now: Date.now() })
    expect((await writer.finish(cancelled)).outcome).toBe('ok')
    const all = await events()
    expect(all.map(event => event.type)).toEqual(['started', 'progress', 'progress', 'cancelled'])
    expect(all[2]?.data.percent).toBe(2)
  })
})

// Handlers with `thread: true`, in a worker process.

import { execFile } from 'node:child_process'
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { projectRoot } from '../../dev/project-root.ts'
import { startWorker, type TestProcess } from '../support/processes.ts'
import { until } from '../support/until.ts'
import { type Broker, type Submission, startBroker } from '../worker/worker-fixture.ts'

let broker: Broker
let worker: TestProcess
let dir: string

beforeAll(async () => {
  broker = await startBroker()
  dir = await mkdtemp(join(tmpdir(), 'millrace-threads-'))
  worker = await launch()
})
afterAll(async () => {
  await broker.close()
  await rm(dir, { recursive: true })
})

const launch = () =>
  startWorker({
    redisUrl: broker.server.url,
    env: { MILLRACE_TASKS_DIR: join(projectRoot(), 'test/e2e/tasks'), MILLRACE_DRAIN_MS: '0' },
  })

const submit = (mode: string, input: object = {}, more: Partial<Submission> = {}) =>
  broker.submit({ type: 'threaded', input: { mode, ...input }, ...more })

test('a handler says all that one in the event loop can, in its order, and nothing of it is lost', async () => {
  const id = await submit('speak')
  expect(await broker.ended(id)).toMatchObject({
    state: 'completed',
    result: { id, isMainThread: false },
    progress: { percent: 100 },
  })
  const events = await broker.events(id)
  const outputs = events.filter(({ type }) => type === 'output').map(({ data }) => data.chunk)
  expect(outputs).toEqual([...Array.from({ length: 300 }, (_, n) => ({ n })), 'last, and not awaited'])
  expect(events.find(({ type }) => type === 'own')?.data.data).toEqual({ attempt: 1 })
  expect(events.find(({ type }) => type === 'log')?.data).toMatchObject({
    level: 'warn',
    message: 'nearly done',
  })
  expect(events.slice(-2).map(({ type }) => type)).toEqual(['progress', 'completed'])
})

test('a busy loop for longer than locks last costs nobody anything', async () => {
  const busy = await submit('busy', { ms: 12_000 })
  await broker.reached(busy, 'started')
  const neighbour = await broker.submit({ type: 'ticker', input: { count: 5, intervalMs: 5 } })
  expect(await broker.ended(neighbour)).toMatchObject({ state: 'completed' })
  expect(await broker.tasks.load(busy)).toMatchObject({ state: 'running' })
  expect(await broker.ended(busy)).toMatchObject({ state: 'completed', run: 1 })
})

describe('a cancellation', () => {
  test('reaches the signal in the thread, with its reason', async () => {
    const id = await submit('heed')
    await broker.reached(id, 'started')
    await broker.queue.cancel(id)
    expect(await broker.ended(id)).toMatchObject({ state: 'cancelled' })
  })

  test('ends a thread that does not heed it', async () => {
    const file = join(dir, 'cancelled')
    const id = await submit('busy', { ms: 600_000, file })
    await until('its first sign', () => stat(file).catch(() => null))
    await broker.queue.cancel(id)
    expect(await broker.ended(id)).toMatchObject({ state: 'cancelled' })
    let size = -1
    await until('it to be silent', async () => {
      const before = size
      size = (await stat(file)).size
      return size === before
    })
  })
})

test('a timeout is told to the thread, and another attempt follows', async () => {
  const id = await submit('heed', {}, { timeoutMs: 100, attempts: 2 })
  expect(await broker.ended(id)).toMatchObject({ state: 'failed', attempt: 2, error: { code: 'timeout' } })
})

test.each([
  ['string', { code: 'handler-error', message: 'text' }],
  ['null', { code: 'handler-error' }],
  ['cyclic', { message: 'round' }],
  ['final', { code: 'never', message: 'no', retryable: false }],
  ['bigint', { code: 'result-not-serializable', retryable: false }],
  ['function', { code: 'result-not-serializable', retryable: false }],
  ['huge', { code: 'result-too-large', retryable: false }],
  ['too large', { code: 'event-too-large' }],
  ['no JSON', { code: 'not-serializable' }],
  ['flood', { code: 'too-many-pending-events' }],
  ['exit', { code: 'handler-error', message: 'the handler ended its thread with exit code 3' }],
  ['later error', { message: 'nobody catches this' }],
])('what goes wrong in a thread is what the attempt fails with: %s', async (mode, error) => {
  const id = await submit(mode)
  expect(await broker.ended(id)).toMatchObject({ state: 'failed', error })
  expect((await broker.types(id)).at(-1)).toBe('failed')
})

test('a promise that nobody awaits ends nothing, and is in the log', async () => {
  const id = await submit('stray')
  expect(await broker.ended(id)).toMatchObject({ state: 'completed', result: 'done' })
  await until('the log line', () => worker.output().includes('unheard of'))
})

test('an error that is thrown in a thread after its task has ended is in the log, and its worker goes on', async () => {
  const id = await submit('error behind')
  expect(await broker.ended(id)).toMatchObject({ state: 'completed', result: 'done' })
  await until('the log line', () => worker.output().includes('thrown too late'))
  expect(await broker.ended(await submit('busy', { ms: 1 }))).toMatchObject({ state: 'completed' })
})

test('threads that are cut off while they load do not take their worker with them', async () => {
  const script = join(projectRoot(), 'test/e2e/cut-off-threads.mjs')
  const handler = join(projectRoot(), 'test/e2e/tasks/threaded.mjs')
  const { stdout } = await promisify(execFile)(process.execPath, [script, handler])
  expect(Number(stdout)).toBeGreaterThan(100)
})

test('what a thread was doing when its worker was asked to end runs again elsewhere at no cost', async () => {
  const id = await submit('busy', { ms: 600_000 })
  await broker.reached(id, 'started')
  const second = await launch()
  expect(await worker.stop()).toBe(0)
  expect((await broker.reached(id, 'started', 2)).data).toMatchObject({ attempt: 1, run: 2 })
  expect(await broker.tasks.load(id)).toMatchObject({ lostRuns: 0 })
  expect(await second.stop()).toBe(0)
})

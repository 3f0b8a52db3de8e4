// Workers as real processes, with something dying, stopping or going away in the middle of a task.

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { freePort } from '../../dev/free-port.ts'
import { projectRoot } from '../../dev/project-root.ts'
import { startWorker, type TestProcess } from '../support/processes.ts'
import { until } from '../support/until.ts'
import { type Broker, startBroker, type TaskEvent } from '../worker/worker-fixture.ts'

const TASKS_DIR = join(projectRoot(), 'test/e2e/tasks')
/** By contract. */
const RECOVERY_MS = 15_000

let broker: Broker
let workers: TestProcess[]

beforeAll(async () => {
  broker = await startBroker()
})
afterAll(() => broker.close())
beforeEach(() => {
  workers = []
})
afterEach(() => Promise.all(workers.map(worker => worker.kill())))

async function launch(env: Record<string, string> = {}): Promise<TestProcess> {
  const worker = await startWorker({
    redisUrl: broker.server.url,
    env: { MILLRACE_TASKS_DIR: TASKS_DIR, ...env },
  })
  workers.push(worker)
  return worker
}

/** Submits a ticker and resolves when it has been heard. */
async function tick(count: number, intervalMs = 20): Promise<string> {
  const id = await broker.submit({ type: 'ticker', input: { count, intervalMs } })
  await broker.reached(id, 'output', 3)
  return id
}

/** The events of each run. */
function runs(events: TaskEvent[]): TaskEvent[][] {
  const found: TaskEvent[][] = []
  for (const event of events) {
    if (event.type === 'started') found.push([])
    found.at(-1)?.push(event)
  }
  return found
}

const ticks = (run: TaskEvent[] = []) =>
  run.filter(event => event.type === 'output').map(event => event.data.chunk)
const upTo = (count: number) => Array.from({ length: count }, (_, n) => n)

async function metric(worker: TestProcess, name: string): Promise<number> {
  const text = await (await fetch(`${worker.opsUrl}/metrics`)).text()
  return Number(new RegExp(`^${name.replace(/[{}]/g, '\\$&')} (.*)$`, 'm').exec(text)?.[1])
}

/** The last run said everything once and in order, and nothing came after its end. */
async function expectWhole(id: string, count: number): Promise<TaskEvent[][]> {
  const task = await broker.ended(id)
  expect(task).toMatchObject({ state: 'completed', result: count, attempt: 1 })
  const all = runs(await broker.events(id))
  expect(ticks(all.at(-1)).map(({ n }) => n)).toEqual(upTo(count))
  expect(all.flat().filter(({ type }) => type === 'completed')).toHaveLength(1)
  expect(all.at(-1)?.at(-1)?.type).toBe('completed')
  return all
}

describe('a task whose worker', () => {
  test('is killed runs again elsewhere in time, as the same attempt and a further run', async () => {
    const first = await launch()
    const id = await tick(100)
    const second = await launch()
    await first.kill()
    const killedAt = Date.now()
    const again = await broker.reached(id, 'started', 2)
    expect(again.time - killedAt).toBeLessThan(RECOVERY_MS)
    expect(again.data).toMatchObject({ attempt: 1, run: 2 })
    const [, last] = await expectWhole(id, 100)
    expect(new Set(ticks(last).map(({ pid }) => pid))).toEqual(new Set([second.pid]))
    expect(await metric(second, 'millrace_tasks_recovered_total')).toBe(1)
  })

  test('is stopped past its lock and goes on later hears nothing of what that says', async () => {
    const stopped = await launch()
    const id = await tick(400)
    process.kill(stopped.pid, 'SIGSTOP')
    const other = await launch()
    await broker.reached(id, 'started', 2)
    process.kill(stopped.pid, 'SIGCONT')
    await until(
      'the stopped worker to let go',
      async () => (await metric(stopped, 'millrace_tasks_running{type="ticker"}')) === 0,
    )
    const [, last, ...more] = await expectWhole(id, 400)
    expect(more).toEqual([])
    expect(new Set(ticks(last).map(({ pid }) => pid))).toEqual(new Set([other.pid]))
  })

  test('is asked to end goes to another one at no cost', async () => {
    const first = await launch({ MILLRACE_DRAIN_MS: '0' })
    const id = await tick(200)
    const second = await launch()
    expect(await first.stop()).toBe(0)
    const [, last] = await expectWhole(id, 200)
    expect(new Set(ticks(last).map(({ pid }) => pid))).toEqual(new Set([second.pid]))
    expect(await broker.tasks.load(id)).toMatchObject({ run: 2, lostRuns: 0 })
  })

  test('is asked to end is finished there when it can be in time', async () => {
    const worker = await launch({ MILLRACE_DRAIN_MS: '60000' })
    const id = await tick(20)
    expect(await worker.stop()).toBe(0)
    expect(await expectWhole(id, 20)).toHaveLength(1)
  })
})

describe('while Redis', () => {
  test('is killed and restarted in the middle of a task, nothing of it is lost or doubled', async () => {
    await launch()
    const id = await tick(150)
    await broker.server.kill()
    await broker.server.restart()
    await expectWhole(id, 150)
  })

  test('is away for longer than locks last, its tasks wait, and go on soon after it is back', async () => {
    const worker = await launch()
    const running = await tick(150)
    const waiting = await broker.submit({
      type: 'ticker',
      input: { count: 1, intervalMs: 0 },
      delayMs: 1_000,
    })
    await broker.server.kill()
    // Not a wait for something to happen: the outage itself.
    await sleep(10_000)
    expect((await fetch(`${worker.opsUrl}/health/live`)).status).toBe(200)
    expect((await fetch(`${worker.opsUrl}/health/ready`)).status).toBe(503)
    await broker.server.restart()
    expect(await broker.ended(waiting)).toMatchObject({ state: 'completed' })
    await expectWhole(running, 150)
    expect((await fetch(`${worker.opsUrl}/health/ready`)).status).toBe(200)
  })

  test('is not there yet, a worker says so, and begins by itself when it comes', async () => {
    await broker.server.kill()
    const port = await freePort()
    const launching = launch({ MILLRACE_OPS_PORT: String(port) })
    const health = async (kind: string) =>
      (await fetch(`http://127.0.0.1:${port}/health/${kind}`).catch(() => null))?.status
    await until('the worker to answer', () => health('live'))
    expect([await health('live'), await health('ready')]).toEqual([200, 503])
    await broker.server.restart()
    await launching
    expect(await health('ready')).toBe(200)
    await expectWhole(await tick(3), 3)
  })
})

describe('a worker', () => {
  test('lives on when a handler leaves a rejected promise behind, and says so', async () => {
    const worker = await launch()
    for (let i = 0; i < 2; i++) {
      const id = await broker.submit({ type: 'stray' })
      expect(await broker.ended(id)).toMatchObject({ state: 'completed', result: 'done' })
    }
    await until('the log line', () => worker.output().includes('unheard'))
    expect(await worker.stop()).toBe(0)
  })

  test('announces its types, and measures what the contract names', async () => {
    const worker = await launch()
    expect(await broker.redis.hkeys('mr:types')).toEqual(expect.arrayContaining(['stray', 'ticker']))
    const text = await (await fetch(`${worker.opsUrl}/metrics`)).text()
    const names = [
      'millrace_tasks_running',
      'millrace_tasks_finished_total',
      'millrace_task_duration_seconds',
      'millrace_task_wait_seconds',
      'millrace_task_retries_total',
      'millrace_tasks_recovered_total',
      'millrace_queue_tasks',
      'millrace_queue_oldest_seconds',
      'millrace_redis_connected',
      'millrace_build_info',
      'process_resident_memory_bytes',
    ]
    expect(names.filter(name => !text.includes(`# TYPE ${name} `))).toEqual([])
  })

  test('does not start with a bad variable or a bad handler, and names it in one line', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'millrace-tasks-'))
    try {
      await writeFile(join(dir, 'broken.mjs'), 'export default { type: 7 }')
      await expect(launch({ MILLRACE_CONCURRENCY: 'many' })).rejects.toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/^MILLRACE_CONCURRENCY: .*\n$/),
      })
      await expect(launch({ MILLRACE_TASKS_DIR: dir })).rejects.toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/^.*broken\.mjs: .*\n$/),
      })
    } finally {
      await rm(dir, { recursive: true })
    }
  })
})

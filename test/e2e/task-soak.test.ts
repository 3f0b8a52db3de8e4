// Some 500 tasks of all kinds, while workers are killed, frozen and asked to end, and Redis is killed: each of them ends
// once, and its log is what the contract says.

import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { projectRoot } from '../../dev/project-root.ts'
import { isTerminal } from '../../shared/task.ts'
import { Random } from '../chaos/random.ts'
import { startWorker, type TestProcess } from '../support/processes.ts'
import { type Broker, type Submission, startBroker, type TaskEvent } from '../worker/worker-fixture.ts'

const TASKS = 504
const WORKERS = 3
const BLOWS = 8
/** Past the lock and what it takes to notice, so that a frozen worker comes back to tasks that another one runs. */
const FROZEN_MS = 13_000
const PAUSE_MS = 1_500
const TIMEOUT_MS = 300_000

const seed = Number(process.env.SOAK_SEED ?? Date.now() % 1_000_000)
const random = new Random(seed)

let broker: Broker
const workers: TestProcess[] = []

beforeAll(async () => {
  broker = await startBroker()
})
afterAll(async () => {
  await Promise.all(workers.map(worker => worker.kill()))
  await broker.close()
})

async function launch(): Promise<void> {
  const env = { MILLRACE_TASKS_DIR: join(projectRoot(), 'test/e2e/tasks'), MILLRACE_DRAIN_MS: '500' }
  workers.push(await startWorker({ redisUrl: broker.server.url, env }))
}

const threaded = (mode: string, more: object = {}): Submission => ({
  type: 'threaded',
  input: { mode, ms: 40 },
  ...more,
})
const KINDS: readonly (() => Submission)[] = [
  () => ({ type: 'ticker', input: { count: random.pick([1, 20, 300]), intervalMs: 10 } }),
  () => ({ type: 'ticker', input: { count: 10, intervalMs: 5 }, delayMs: random.pick([500, 5_000]) }),
  () => ({ type: 'ticker', input: { count: 5, intervalMs: 5 }, priority: random.pick([1, 10]) }),
  () => ({ type: 'ticker', input: { count: 5, intervalMs: 5 }, expiresInMs: random.pick([1, 2_000]) }),
  () => ({ type: 'ticker', input: { count: 5, intervalMs: 5 }, concurrencyKey: 'few', concurrencyLimit: 3 }),
  () => ({ type: 'ticker', input: { count: 400, intervalMs: 40 } }),
  () => ({ type: 'stray' }),
  () => threaded('busy'),
  () => threaded('string', { attempts: 3, backoff: { type: 'fixed', delayMs: 100, jitter: 0.5 } }),
  () => threaded('final', { attempts: 3 }),
  () => threaded('exit'),
  () => threaded('heed', { timeoutMs: 200, attempts: 2 }),
]

const BLOW: Readonly<Record<string, () => Promise<void>>> = {
  async kill() {
    const worker = takeOne()
    await worker.kill()
    await launch()
  },
  async freeze() {
    const worker = random.pick(workers)
    signal(worker, 'SIGSTOP')
    await sleep(FROZEN_MS)
    signal(worker, 'SIGCONT')
  },
  async drain() {
    const worker = takeOne()
    await Promise.all([worker.stop(), launch()])
  },
  async redis() {
    await broker.server.kill()
    await sleep(PAUSE_MS)
    await broker.server.restart()
  },
}

/** Of a worker that has ended by itself, it says what that one said. */
function signal(worker: TestProcess, name: NodeJS.Signals): void {
  try {
    process.kill(worker.pid, name)
  } catch {
    throw new Error(`a worker has ended by itself: ${worker.output().slice(-2_000)}`)
  }
}

function takeOne(): TestProcess {
  return workers.splice(random.int(0, workers.length - 1), 1)[0]!
}

/** Queues a task of any kind, and cancels some of them at once. */
async function submit(): Promise<string> {
  const id = await broker.submit(random.pick(KINDS)())
  if (random.chance(10)) await broker.queue.cancel(id)
  return id
}

/** What is wrong with the log of a task; nothing in most cases. */
function faultsOf(events: readonly TaskEvent[]): string[] {
  const faults: string[] = []
  const types = events.map(event => event.type)
  if (types[0] !== 'queued') faults.push('does not begin with queued')
  if (types.filter(isTerminal).length !== 1) faults.push('has not exactly one end')
  if (!isTerminal(types.at(-1) ?? '')) faults.push('goes on after its end')
  let [attempt, run, tick] = [1, 0, 0]
  for (const { type, data } of events) {
    if (type === 'started') {
      if (data.run !== run + 1) faults.push(`run ${data.run} follows run ${run}`)
      run = data.run
      tick = 0
    }
    if (data.attempt !== attempt) faults.push(`${type} of attempt ${data.attempt} in attempt ${attempt}`)
    if (type === 'retrying') attempt++
    // Of another run it would be another number.
    if (type === 'output' && data.chunk.n !== tick++)
      faults.push(`run ${run} says ${data.chunk.n} as its ${tick}th`)
  }
  return faults
}

test(
  `whatever dies, each task ends once and its log is well-formed (SOAK_SEED=${seed})`,
  async () => {
    await Promise.all(Array.from({ length: WORKERS }, launch))
    const submitted: Promise<string>[] = []
    const blows = [
      'redis',
      'freeze',
      ...Array.from({ length: BLOWS - 2 }, () => random.pick(Object.keys(BLOW))),
    ]
    for (const blow of blows) {
      for (let i = 0; i < TASKS / BLOWS; i++) submitted.push(submit())
      await broker.reached(await submitted.at(-1)!, 'queued')
      await BLOW[blow]!()
      await sleep(PAUSE_MS)
    }
    const ids = await Promise.all(submitted)
    // A long one whose worker was just lost may take longer than what is waited for at once.
    for (const id of ids) await broker.ended(id).catch(() => broker.ended(id))
    const faulty = []
    for (const id of ids) {
      const events = await broker.events(id)
      const faults = faultsOf(events)
      if (faults.length > 0) faulty.push({ id, faults, events: events.map(({ type, data }) => [type, data]) })
    }
    expect(faulty).toEqual([])
  },
  TIMEOUT_MS,
)

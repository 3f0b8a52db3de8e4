// What one worker runs in a second: tasks that return at once, so that all that is measured is what is done around
// them. They are queued first, with the queue paused, so that nothing but the worker and Redis has work.

import { setTimeout as sleep } from 'node:timers/promises'
import { Queue } from 'bullmq'
import type { Redis } from 'ioredis'
import pLimit from 'p-limit'
import { taskChannel } from '../../shared/event.ts'
import { logKey, QUEUE_NAME, QUEUE_PREFIX } from '../../shared/keys.ts'
import { RedisEventLog } from '../../shared/redis-event-log.ts'
import { TaskStore } from '../../shared/redis-tasks.ts'
import { TaskQueue } from '../../shared/task-queue.ts'
import { measured } from '../measured.ts'
import { onWorkerStage, script, type WorkerStage } from '../stage.ts'
import type { Delivery, RunContext, Side, Turns, Workload } from '../workload.ts'

const TASKS = 9_000
const WARM_UP_TASKS = 6_000
const TURNS_PER_ROUND = 3
const CONCURRENCIES = [10, 50]
/** `queued`, `started`, `completed`. */
const EVENTS_PER_TASK = 3

const SUBMISSIONS_AT_ONCE = 200
const CHECKED_AT_ONCE = 1_000
/** Short beside a turn. */
const POLL_MS = 4
const RUN_TIMEOUT_MS = 120_000

/** What the queue is called that the worker of a side takes its jobs from. */
function queueOf(side: Side): { readonly name: string; readonly prefix: string } {
  return side === 'product' ? { name: QUEUE_NAME, prefix: QUEUE_PREFIX } : { name: 'bare', prefix: 'bull' }
}

async function* taskRuns(stage: WorkerStage, side: Side, context: RunContext): Turns {
  const { client } = stage
  const { scale, part } = context
  const { name, prefix } = queueOf(side)
  const queue = new Queue(name, { connection: client, prefix })
  const count = Math.round(TASKS * scale.share * part)
  try {
    await runAll(queue, await fill(side, client, queue, Math.round(WARM_UP_TASKS * scale.share)))
    for (;;) {
      const ids = await fill(side, client, queue, count)
      const { result: seconds, cpu } = await measured(stage, context, () => runAll(queue, ids))
      yield {
        figures: {
          tasksPerSecond: count / seconds,
          workerMicrosPerTask: cpu.serverUs / count,
          redisMicrosPerTask: cpu.redisUs / count,
        },
        ...(side === 'product' && { delivery: await eventsOf(client, ids) }),
        limits: [],
      }
    }
  } finally {
    await queue.close()
  }
}

/** Queues tasks that nobody may take yet; answers their ids. */
async function fill(side: Side, redis: Redis, queue: Queue, count: number): Promise<string[]> {
  await queue.pause()
  const ids = Array.from({ length: count }, () => crypto.randomUUID())
  if (side !== 'product') {
    await queue.addBulk(
      ids.map(jobId => ({ name: 'noop', data: {}, opts: { jobId, removeOnComplete: true } })),
    )
    return ids
  }
  const log = new RedisEventLog(redis, {
    channels: { maxEvents: 10_000, ttlMs: 60_000 },
    taskMaxEvents: 10_000,
  })
  const tasks = new TaskQueue(redis, new TaskStore(redis, log))
  const limit = pLimit(SUBMISSIONS_AT_ONCE)
  await limit.map(ids, id =>
    tasks.submit({
      id,
      type: 'noop',
      input: {},
      delayMs: 0,
      priority: 0,
      attempts: 1,
      backoff: null,
      timeoutMs: 3_600_000,
      expiresInMs: null,
      retainMs: 3_600_000,
    }),
  )
  return ids
}

/** Lets the worker loose on what is queued; answers how many seconds it took. */
async function runAll(queue: Queue, { length }: readonly string[]): Promise<number> {
  const from = performance.now()
  await queue.resume()
  for (;;) {
    const { wait, active } = await queue.getJobCounts('wait', 'active')
    const seconds = (performance.now() - from) / 1_000
    if (!wait && !active) return seconds
    if (seconds * 1_000 > RUN_TIMEOUT_MS) throw new Error(`${wait} of ${length} tasks still wait`)
    await sleep(POLL_MS)
  }
}

/** Whether each task has all its events and no more. */
async function eventsOf(redis: Redis, ids: readonly string[]): Promise<Delivery> {
  const tally = { expected: ids.length * EVENTS_PER_TASK, received: 0, missing: 0, doubled: 0 }
  for (let i = 0; i < ids.length; i += CHECKED_AT_ONCE) {
    const pipeline = redis.pipeline()
    for (const id of ids.slice(i, i + CHECKED_AT_ONCE)) pipeline.xlen(logKey(taskChannel(id)))
    for (const [, reply] of (await pipeline.exec()) ?? []) {
      const events = Number(reply)
      tally.received += events
      tally.missing += Math.max(EVENTS_PER_TASK - events, 0)
      tally.doubled += Math.max(events - EVENTS_PER_TASK, 0)
    }
  }
  return { ...tally, reordered: 0, gaps: 0, closed: 0 }
}

export const TASK_RUNS: readonly Workload[] = CONCURRENCIES.map(concurrency => ({
  name: `task-runs-${concurrency}`,
  title: `one worker, tasks that return at once, ${concurrency} at a time`,
  reference: 'bare BullMQ',
  measures: [
    {
      figure: 'tasksPerSecond',
      label: 'tasks run, all their events included',
      unit: '1/s',
      better: 'more',
      target: { kind: 'ratio-at-least', ratio: 0.5 },
    },
    { figure: 'workerMicrosPerTask', label: 'CPU of the worker a task', unit: 'µs', better: 'less' },
    { figure: 'redisMicrosPerTask', label: 'CPU of Redis a task', unit: 'µs', better: 'less' },
  ],
  turnsPerRound: TURNS_PER_ROUND,
  measure: (side, context) =>
    onWorkerStage(
      side,
      side === 'product' ? 'worker' : 'bare-bullmq',
      {
        MILLRACE_CONCURRENCY: String(concurrency),
        MILLRACE_TASKS_DIR: script('tasks'),
        BENCH_QUEUE: queueOf(side).name,
      },
      stage => taskRuns(stage, side, context),
    ),
}))

/** Redis, the task store and workers in this process, for tests of what a worker does with tasks. */
import { randomUUID } from 'node:crypto'
import { Registry } from 'prom-client'
import { type ChannelEvent, eventData, taskChannel } from '../../shared/event.ts'
import type { EventLog } from '../../shared/event-log.ts'
import { taskKey } from '../../shared/keys.ts'
import { createLogger } from '../../shared/log.ts'
import { connectRedis } from '../../shared/redis-connection.ts'
import { RedisEventLog } from '../../shared/redis-event-log.ts'
import { TaskStore } from '../../shared/redis-tasks.ts'
import { isTerminal, type TaskRecord, type TaskRequest } from '../../shared/task.ts'
import { TaskQueue } from '../../shared/task-queue.ts'
import { Cancellation } from '../../worker/cancellation.ts'
import { Consumer } from '../../worker/consumer.ts'
import type { TaskDefinition } from '../../worker/define-task.ts'
import { EndedTasks } from '../../worker/ended-tasks.ts'
import { HandlerThreads } from '../../worker/handler-threads.ts'
import type { LoadedTask } from '../../worker/load-tasks.ts'
import { createWorkerMetrics } from '../../worker/metrics.ts'
import { RunEnds } from '../../worker/run-ends.ts'
import { TaskRunner } from '../../worker/run-task.ts'
import { TaskRuns } from '../../worker/task-run.ts'
import { startRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'

const retention = { channels: { maxEvents: 10_000, ttlMs: 60_000 }, taskMaxEvents: 10_000 }

export const silent = createLogger('test', 'silent')

export interface TaskEvent {
  readonly type: string
  readonly time: number
  // biome-ignore lint/suspicious/noExplicitAny: tests look into whatever stands there
  readonly data: any
}

export type Submission = Partial<TaskRequest> & { type: string }

/** Call `close` in `afterAll`. */
export async function startBroker() {
  const server = await startRedis()
  const redis = connectRedis(server.url, 'worker', silent)
  const log = new RedisEventLog(redis, retention)
  const tasks = new TaskStore(redis, log)
  const queue = new TaskQueue(redis, tasks)

  async function events(taskId: string): Promise<TaskEvent[]> {
    const all: ChannelEvent[] = []
    for (;;) {
      const { events } = await log.readPage(taskChannel(taskId), all.at(-1) ?? 'earliest')
      if (events.length === 0) break
      all.push(...events)
    }
    return all.map(event => ({ type: event.type, time: event.time, data: eventData(event) }))
  }

  return {
    server,
    redis,
    log,
    tasks,
    queue,
    events,
    types: async (taskId: string) => (await events(taskId)).map(event => event.type),
    /** Makes a task one that was created so much earlier. */
    async putBack(taskId: string, byMs: number): Promise<void> {
      const key = taskKey(taskId)
      const fixed = JSON.parse((await redis.hget(key, 'fixed')) ?? '')
      await redis.hset(key, 'fixed', JSON.stringify({ ...fixed, createdAt: fixed.createdAt - byMs }))
    },
    /** Queues a task, one attempt and no delay unless it says otherwise; resolves with its id. */
    async submit(submission: Submission): Promise<string> {
      const task = await queue.submit({
        id: randomUUID(),
        input: {},
        delayMs: 0,
        priority: 0,
        attempts: 1,
        backoff: null,
        timeoutMs: 60_000,
        expiresInMs: null,
        retainMs: 600_000,
        ...submission,
      })
      return task.id
    },
    async ended(taskId: string): Promise<TaskRecord> {
      return until(`the end of ${taskId}`, async () => {
        const task = await tasks.load(taskId)
        return task && isTerminal(task.state) ? task : null
      })
    },
    async reached(taskId: string, type: string, count = 1): Promise<TaskEvent> {
      return until(`${count} ${type} of ${taskId}`, async () => {
        const found = (await events(taskId)).filter(event => event.type === type)
        return found[count - 1]
      })
    },
    async close(): Promise<void> {
      redis.disconnect()
      await server.close()
    },
  }
}

export type Broker = Awaited<ReturnType<typeof startBroker>>

/** A worker in this process. `log` replaces the broker's own event log. */
export function startTestWorker(
  broker: Broker,
  definitions: TaskDefinition[],
  {
    concurrency = 10,
    log = broker.log,
    name = 'worker',
  }: { concurrency?: number; log?: EventLog; name?: string } = {},
) {
  const redis = connectRedis(broker.server.url, 'worker', silent)
  const tasks = new TaskStore(redis, log)
  const registry = new Registry()
  const types = new Map(definitions.map(definition => [definition.type, loadedTask(definition)]))
  const metrics = createWorkerMetrics(registry, types.keys())
  const runs = new TaskRuns()
  const queue = new TaskQueue(redis, tasks)
  const ended = new EndedTasks(tasks, silent)
  const threads = new HandlerThreads({ concurrency, httpTargets: '', log: silent })
  const { taskLog } = new RedisEventLog(redis, retention)
  const ends = new RunEnds({ redis, log: taskLog, types: types.keys(), workerName: name, concurrency })
  const runner = new TaskRunner({
    tasks,
    queue,
    ended,
    ends,
    threads,
    metrics,
    workerName: name,
    log: silent,
  })
  const consumer = new Consumer({ redis, runner, ends, runs, types, concurrency, log: silent })
  const subscriber = connectRedis(broker.server.url, 'subscriber', silent)
  const cancellation = new Cancellation(subscriber, tasks, runs, silent)
  cancellation.start()
  consumer.start()
  return {
    consumer,
    ends,
    registry,
    async stop(graceMs = 0): Promise<void> {
      await consumer.stop(graceMs)
      await ended.stop()
      cancellation.stop()
      redis.disconnect()
    },
  }
}

function loadedTask(definition: TaskDefinition): LoadedTask {
  const { type, input, attempts = 1, timeoutMs = 60_000, thread = false } = definition
  return {
    type,
    file: `${type}.js`,
    definition,
    inputSchema: null,
    attempts,
    backoff: definition.backoff,
    timeoutMs,
    thread,
    parseInput(raw) {
      const parsed = input?.safeParse(raw)
      if (!parsed) return { ok: true, input: raw }
      if (parsed.success) return { ok: true, input: parsed.data }
      const errors = parsed.error.issues.map(({ path, message }) => ({ path: path.join('.'), message }))
      return { ok: false, errors }
    },
  } as LoadedTask
}

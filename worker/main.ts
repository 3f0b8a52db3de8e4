// The worker process. What it is made of, and in which order that starts and stops:
//
//   start                                          stop, in reverse
//   Redis    everything needs it, and waits for    last, since handing back needs it
//            it where it is away
//   ops      health is asked for from now on       readiness says 503 as soon as the consumer drains
//   types    gateways accept them                  they stay known
//   cancel   a running task can be cancelled       heard until no task runs any more
//   repairs  tasks that were lost are queued       not needed to drain
//   schedules submit their tasks                   left to other workers
//   callbacks are delivered                        left to other workers
//   demo     feeds and samples, where it is on     left to other workers
//   consumer takes tasks                           first: no new ones, then out with those that run

import { type WorkerConfig, workerConfig } from '../shared/config.ts'
import { type HttpTarget, parseHttpTargets } from '../shared/http-targets.ts'
import { Lifecycle, runProcess } from '../shared/lifecycle.ts'
import { createLogger, type Logger } from '../shared/log.ts'
import { createRegistry } from '../shared/metrics.ts'
import { startOpsServer } from '../shared/ops-server.ts'
import { PROCESS_NAME } from '../shared/process-name.ts'
import { ProcessSamples } from '../shared/process-samples.ts'
import { checkRedis, connectRedis, withTimeout } from '../shared/redis-connection.ts'
import { RedisEventLog } from '../shared/redis-event-log.ts'
import { TaskStore } from '../shared/redis-tasks.ts'
import { Schedules } from '../shared/schedules.ts'
import { SystemChannel } from '../shared/system-channel.ts'
import { TaskQueue } from '../shared/task-queue.ts'
import type { TaskType } from '../shared/task-types.ts'
import { CallbackDelivery } from './callback-delivery.ts'
import { Cancellation } from './cancellation.ts'
import { Consumer } from './consumer.ts'
import { DemoSchedules, removeDemoSchedules } from './demo/demo-schedules.ts'
import { feedSchedule } from './demo/feeds.ts'
import { queueSamples } from './demo/queue-samples.ts'
import { EndedTasks } from './ended-tasks.ts'
import { HandlerThreads } from './handler-threads.ts'
import { Liveness } from './liveness.ts'
import { type LoadedTask, loadTasks, SHIPPED_TASKS_DIR } from './load-tasks.ts'
import { createWorkerMetrics, measureCallbacks, measureQueue } from './metrics.ts'
import { QueueState } from './queue-state.ts'
import { Reconciler } from './reconciler.ts'
import { RedisSweep } from './redis-sweep.ts'
import { RunEnds } from './run-ends.ts'
import { TaskRunner } from './run-task.ts'
import { ScheduleRuns } from './schedule-runs.ts'
import { stackOf, toTaskError } from './task-failure.ts'
import { TaskRuns } from './task-run.ts'
import { TypeAnnouncer } from './type-announcer.ts'

runProcess(async () => {
  const config = workerConfig()
  const log = createLogger('worker', config.LOG_LEVEL)
  const httpTargets = parseHttpTargets(config.MILLRACE_HTTP_TARGETS)
  const loaded = await loadTasks(config.MILLRACE_TASKS_DIR ?? SHIPPED_TASKS_DIR, { httpTargets })
  const lifecycle = new Lifecycle(log, config.MILLRACE_DRAIN_MS)
  surviveRejections(log)
  await startWorker(config, loaded, httpTargets, lifecycle, log)
})

async function startWorker(
  config: WorkerConfig,
  loaded: LoadedTask[],
  httpTargets: readonly HttpTarget[],
  lifecycle: Lifecycle,
  log: Logger,
): Promise<void> {
  const types = new Map(loaded.map(task => [task.type, task]))
  const redis = connectRedis(config.REDIS_URL, 'worker', log)
  lifecycle.onStop('redis', async () => redis.disconnect())

  const retention = {
    channels: { maxEvents: config.MILLRACE_CHANNEL_MAX_EVENTS, ttlMs: config.MILLRACE_CHANNEL_TTL_MS },
    taskMaxEvents: config.MILLRACE_TASK_MAX_EVENTS,
  }
  const eventLog = new RedisEventLog(redis, retention)
  const tasks = new TaskStore(redis, eventLog)
  const queue = new TaskQueue(redis, tasks)
  const registry = createRegistry(redis)
  const metrics = createWorkerMetrics(registry, types.keys())
  const isConnected = () => redis.status === 'ready'
  const queueState = new QueueState(queue, tasks, isConnected)
  measureQueue(registry, queueState)
  measureCallbacks(registry, async () =>
    isConnected() ? withTimeout(tasks.callbacks.counts(), 1_000).catch(() => null) : null,
  )
  const runs = new TaskRuns()
  const ended = new EndedTasks(tasks, log)
  const threads = new HandlerThreads({
    concurrency: config.MILLRACE_CONCURRENCY,
    httpTargets: config.MILLRACE_HTTP_TARGETS,
    log,
  })
  const ends = new RunEnds({
    redis,
    log: eventLog.taskLog,
    types: types.keys(),
    workerName: PROCESS_NAME,
    concurrency: config.MILLRACE_CONCURRENCY,
  })
  const runner = new TaskRunner({
    tasks,
    queue,
    ended,
    ends,
    threads,
    metrics,
    workerName: PROCESS_NAME,
    log,
  })
  const consumer = new Consumer({
    redis,
    runner,
    ends,
    runs,
    types,
    concurrency: config.MILLRACE_CONCURRENCY,
    log,
  })
  const liveness = new Liveness(consumer, queueState)

  const ops = await startOpsServer(
    { host: config.HOST, port: config.MILLRACE_OPS_PORT, variable: 'MILLRACE_OPS_PORT' },
    registry,
    {
      live: async () => liveness.check(),
      ready: async () => {
        if (consumer.isDraining()) return { ok: false, problems: ['the worker shuts down'] }
        // While Redis is away a command would wait for it, and more of them with every check.
        return isConnected() ? checkRedis(redis) : { ok: false, problems: ['Redis is away'] }
      },
    },
  )
  lifecycle.onStop('ops', () => ops.stop())

  const announcer = new TypeAnnouncer(redis, loaded.map(announcement), log)
  lifecycle.onStop('types', async () => announcer.stop())
  await announcer.start()

  const cancellation = new Cancellation(connectRedis(config.REDIS_URL, 'subscriber', log), tasks, runs, log)
  cancellation.start()
  lifecycle.onStop('cancel', async () => cancellation.stop())

  const reconciler = new Reconciler({
    sweep: new RedisSweep(redis),
    tasks,
    queue,
    types,
    metrics,
    workerName: PROCESS_NAME,
    log,
  })
  reconciler.start()
  lifecycle.onStop('repairs', async () => reconciler.stop())

  const scheduleRuns = new ScheduleRuns({ redis, schedules: new Schedules(redis), queue, metrics, log })
  scheduleRuns.start()
  lifecycle.onStop('schedules', () => scheduleRuns.stop())

  const secret = config.MILLRACE_WEBHOOK_SECRET
  if (secret !== undefined) {
    const callbacks = new CallbackDelivery({ redis, targets: httpTargets, secret, metrics, log })
    callbacks.start()
    lifecycle.onStop('callbacks', () => callbacks.stop())
  }

  if (config.MILLRACE_DEMO === 'on') {
    const system = new SystemChannel(redis)
    const schedules = [feedSchedule(redis, retention), queueSamples(system, queueState)]
    const demo = new DemoSchedules({ redis, schedules, log })
    demo.start()
    lifecycle.onStop('demo', () => demo.stop())
    const read = async () => ({ events: eventLog.appended, now: { tasksRunning: runs.size } })
    const samples = new ProcessSamples({ kind: 'worker', channel: system, read, log })
    samples.start()
    lifecycle.onStop('samples', async () => samples.stop())
  } else {
    removeDemoSchedules(redis).catch(error => log.debug({ err: error }, 'the demo could not be removed'))
  }

  consumer.start()
  liveness.start()
  lifecycle.onStop('consumer', async () => {
    liveness.stop()
    await consumer.stop(config.MILLRACE_DRAIN_MS)
    await threads.stop()
    await ended.stop()
  })
  lifecycle.ready('worker ready', { opsUrl: ops.url, types: [...types.keys()] })
}

function announcement(task: LoadedTask): TaskType {
  const { type, inputSchema, attempts, backoff, timeoutMs, concurrency } = task
  return { type, inputSchema, attempts, backoff, timeoutMs, concurrency }
}

// A promise that a handler forgot to await must not take the other tasks of this worker with it.
function surviveRejections(log: Logger): void {
  process.on('unhandledRejection', reason => {
    log.error({ error: toTaskError(reason), stack: stackOf(reason) }, 'a promise was rejected unheard')
  })
}

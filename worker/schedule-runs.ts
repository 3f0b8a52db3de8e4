// Carries out the runs of schedules that are due: each submits its task, as a gateway would. BullMQ gives a run to
// one worker, and to another one if that dies; the task's id, which is the run's, lets the second one do nothing.

import type { Job, Worker } from 'bullmq'
import type { Redis } from 'ioredis'
import { MillraceError } from '../shared/errors.ts'
import { SCHEDULE_QUEUE_NAME } from '../shared/keys.ts'
import type { Logger } from '../shared/log.ts'
import { withTimeout } from '../shared/redis-connection.ts'
import { scheduledTaskId } from '../shared/schedule.ts'
import { dueAtOf, type Schedules } from '../shared/schedules.ts'
import type { TaskQueue } from '../shared/task-queue.ts'
import type { WorkerMetrics } from './metrics.ts'
import { createQueueWorker } from './queue-worker.ts'

/** A run takes a few commands of Redis. */
const CONCURRENCY = 10
/** Past this a run that waits for Redis is left to other workers. */
const STOP_MS = 2_000

export interface ScheduleRunsParts {
  /** For commands; BullMQ opens a second connection like it, for waiting. It stays the caller's. */
  readonly redis: Redis
  readonly schedules: Schedules
  readonly queue: TaskQueue
  readonly metrics: Pick<WorkerMetrics, 'submitted'>
  readonly log: Logger
}

export class ScheduleRuns {
  readonly #schedules: Schedules
  readonly #queue: TaskQueue
  readonly #metrics: ScheduleRunsParts['metrics']
  readonly #log: Logger
  readonly #worker: Worker

  constructor({ redis, schedules, queue, metrics, log }: ScheduleRunsParts) {
    this.#schedules = schedules
    this.#queue = queue
    this.#metrics = metrics
    this.#log = log
    this.#worker = createQueueWorker(SCHEDULE_QUEUE_NAME, job => this.#run(job), {
      redis,
      concurrency: CONCURRENCY,
      log,
    })
  }

  start(): void {
    this.#worker.run().catch(error => this.#log.error({ err: error }, 'the worker stopped running schedules'))
  }

  async stop(): Promise<void> {
    await withTimeout(this.#worker.close(), STOP_MS).catch(() =>
      this.#log.warn('some runs of schedules are left to other workers'),
    )
  }

  async #run(job: Job): Promise<void> {
    const id = job.repeatJobKey ?? ''
    // As it is now, since it may have been replaced or removed after this run was queued.
    const schedule = await this.#schedules.get(id)
    if (!schedule) return
    const taskId = scheduledTaskId(id, dueAtOf(job))
    try {
      await this.#queue.submit({ ...schedule.task, id: taskId, delayMs: 0, scheduleId: id })
      this.#metrics.submitted.inc({ type: schedule.task.type })
    } catch (error) {
      if (!(error instanceof MillraceError && error.code === 'task-exists')) {
        this.#log.warn({ err: error, schedule: id, task: taskId }, 'a run of a schedule failed')
        throw error
      }
      this.#log.info({ schedule: id, task: taskId }, 'a run of a schedule had submitted its task before')
    }
    await this.#schedules.noteRun(id, taskId)
  }
}

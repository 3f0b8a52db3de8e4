// The ticks of the demo: job schedulers of BullMQ in a queue of their own, so that each tick is run by one worker
// however many there are, and by another one if that dies. The next tick is queued when one is begun; so after all
// workers were away there is one late tick and no burst.

import type { Job, Queue, Worker } from 'bullmq'
import type { Redis } from 'ioredis'
import { FEED_QUEUE_NAME } from '../../shared/keys.ts'
import type { Logger } from '../../shared/log.ts'
import { openQueue } from '../../shared/open-queue.ts'
import { withTimeout } from '../../shared/redis-connection.ts'
import { dueAtOf } from '../../shared/schedules.ts'
import { createQueueWorker } from '../queue-worker.ts'

/** Something that is to be done again and again, by one worker at a time. */
export interface DemoSchedule {
  readonly id: string
  readonly everyMs: number
  /** `dueAt` names the tick, in ms since 1970. */
  tick(dueAt: number): Promise<void>
}

const CONCURRENCY = 4
/** Past this a tick that waits for Redis is left to other workers. */
const STOP_MS = 2_000
/** How often a worker looks whether the schedulers are there: Redis can have been emptied. */
const KEEP_INTERVAL_MS = 30_000
/** A tick that is later than this is lost; one whose worker died is run after 11 s. */
const LOST_AFTER_MS = 30_000

export interface DemoSchedulesParts {
  /** For commands; BullMQ opens a second connection like it, for waiting. It stays the caller's. */
  readonly redis: Redis
  readonly schedules: readonly DemoSchedule[]
  readonly log: Logger
}

export class DemoSchedules {
  readonly #schedules: ReadonlyMap<string, DemoSchedule>
  readonly #log: Logger
  readonly #queue: Queue
  readonly #worker: Worker
  #timer: NodeJS.Timeout | undefined
  #keeping = false

  constructor({ redis, schedules, log }: DemoSchedulesParts) {
    this.#schedules = new Map(schedules.map(schedule => [schedule.id, schedule]))
    this.#log = log
    this.#queue = openQueue(FEED_QUEUE_NAME, redis)
    this.#worker = createQueueWorker(FEED_QUEUE_NAME, job => this.#run(job), {
      redis,
      concurrency: CONCURRENCY,
      log,
    })
    this.#worker.on('failed', (job, error) => log.debug({ err: error, tick: job?.id }, 'a tick failed'))
  }

  start(): void {
    this.#worker
      .run()
      .catch(error => this.#log.error({ err: error }, 'the worker stopped running demo feeds'))
    this.#timer = setInterval(() => void this.#keep(), KEEP_INTERVAL_MS)
    void this.#keep()
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await withTimeout(this.#worker.close(), STOP_MS).catch(() =>
      this.#log.warn('some ticks of demo feeds are left to other workers'),
    )
  }

  async #run(job: Job): Promise<void> {
    await this.#schedules.get(job.repeatJobKey ?? '')?.tick(dueAtOf(job))
  }

  // While Redis is away a look waits for it, and no second one is begun.
  async #keep(): Promise<void> {
    if (this.#keeping) return
    this.#keeping = true
    try {
      // As it is left by a worker that died while it removed the queue.
      if (await this.#queue.isPaused()) await this.#queue.resume()
      for (const { id, everyMs } of this.#schedules.values()) await this.#keepScheduler(id, everyMs)
    } catch (error) {
      this.#log.debug({ err: error }, 'the schedules of demo feeds could not be kept')
    } finally {
      this.#keeping = false
    }
  }

  async #keepScheduler(id: string, everyMs: number): Promise<void> {
    const scheduler = await this.#queue.getJobScheduler(id)
    if (scheduler && (scheduler.next ?? 0) > Date.now() - LOST_AFTER_MS) return
    // On whole seconds. A tick that fails is not tried again, since the next one comes.
    const opts = { removeOnComplete: true, removeOnFail: true, stackTraceLimit: 1 }
    await this.#queue.upsertJobScheduler(id, { every: everyMs, offset: everyMs }, { name: 'tick', opts })
  }
}

/** What a worker without the demo does: if it was on before, its queue is removed, with what a dead worker was at. */
export async function removeDemoSchedules(redis: Redis): Promise<void> {
  const queue = openQueue(FEED_QUEUE_NAME, redis)
  if (await redis.exists(queue.toKey('meta'))) await queue.obliterate({ force: true })
}

// The schedules in Redis: put, read, list, remove. Each is one of BullMQ's job schedulers, in a queue of their own,
// and nothing else decides whether there is one and when it is due. Its jobs carry no work: a worker that takes
// one submits the schedule's task (worker/schedule-runs.ts).

import { setTimeout as sleep } from 'node:timers/promises'
import { ErrorCode, type Job, type JobSchedulerJson, type Queue } from 'bullmq'
import type { Redis } from 'ioredis'
import { LAST_RUNS_KEY, SCHEDULE_QUEUE_NAME, SCHEDULES_KEY } from './keys.ts'
import { openQueue } from './open-queue.ts'
import type { Schedule, TaskTemplate, Timing } from './schedule.ts'

/** What stands with a scheduler of BullMQ. */
interface SchedulerData {
  readonly task: TaskTemplate
  readonly createdAt: number
  readonly updatedAt: number
}

export interface SchedulePage {
  readonly schedules: Schedule[]
  /** Goes into the next call's `after`; null at the end. */
  readonly next: string | null
}

/** Schedules of a page are read this many at a time, until their tasks have this many characters. */
const LOAD_STEP = 10
const MAX_PAGE_CHARS = 4 * 1024 * 1024

/** A run that fails (Redis refuses it) is tried again, for a quarter of an hour. */
const RUN_ATTEMPTS = 900
const RUN_RETRY_MS = 1_000

/** A job that a worker holds makes way within milliseconds. */
const PUT_ROUNDS = 20
const PUT_RETRY_MS = 50

export class Schedules {
  readonly #queue: Queue<SchedulerData>
  readonly #redis: Redis

  /** `redis` stays the caller's. */
  constructor(redis: Redis) {
    this.#redis = redis
    this.#queue = openQueue(SCHEDULE_QUEUE_NAME, redis)
  }

  /** Creates or replaces a schedule. The same timing again leaves its rhythm as it is. `now` in ms since 1970. */
  async put(
    id: string,
    { timing, task }: Pick<Schedule, 'timing' | 'task'>,
    now = Date.now(),
  ): Promise<{ schedule: Schedule; created: boolean }> {
    const [before, lastTaskId] = await this.#read(id)
    const data = { task, createdAt: before?.template?.data?.createdAt ?? now, updatedAt: now }
    await this.#redis.zadd(SCHEDULES_KEY, 0, id)
    const nextRunAt = await this.#upsert(id, repeatOptions(timing, before, now), data)
    return { schedule: { id, timing, ...data, nextRunAt, lastTaskId }, created: !before }
  }

  async get(id: string): Promise<Schedule | null> {
    const [scheduler, lastTaskId] = await this.#read(id)
    if (!scheduler?.template?.data) return null
    const { pattern, tz = 'UTC', every = 0, next = 0 } = scheduler
    const timing = pattern === undefined ? { everyMs: every } : { cron: pattern, timeZone: tz }
    return { id, timing, ...scheduler.template.data, nextRunAt: next, lastTaskId }
  }

  /**
   * By id. A page may hold fewer than `limit` and still have a `next`, since a call reads a bounded number of
   * characters.
   */
  async list(limit: number, after: string | null): Promise<SchedulePage> {
    const from = after === null ? '-' : `(${after}`
    const ids = await this.#redis.zrange(SCHEDULES_KEY, from, '+', 'BYLEX', 'LIMIT', 0, limit + 1)
    const schedules: Schedule[] = []
    let read = 0
    for (let chars = 0; read < Math.min(limit, ids.length) && chars < MAX_PAGE_CHARS; ) {
      const step = ids.slice(read, Math.min(read + LOAD_STEP, limit))
      read += step.length
      for (const schedule of await Promise.all(step.map(id => this.get(id)))) {
        if (!schedule) continue
        schedules.push(schedule)
        chars += JSON.stringify(schedule.task).length
      }
    }
    return { schedules, next: (read < ids.length && ids[read - 1]) || null }
  }

  /** False when there was none. A run that a worker holds already may still submit its task. */
  async remove(id: string): Promise<boolean> {
    const removed = await this.#queue.removeJobScheduler(id)
    await this.#redis.multi().zrem(SCHEDULES_KEY, id).hdel(LAST_RUNS_KEY, id).exec()
    return removed
  }

  /** Notes the task of a run. */
  async noteRun(id: string, taskId: string): Promise<void> {
    // Into the list too: a removal that overlapped with a put may have taken it out.
    await this.#redis.multi().hset(LAST_RUNS_KEY, id, taskId).zadd(SCHEDULES_KEY, 0, id).exec()
  }

  async close(): Promise<void> {
    await this.#queue.close()
  }

  async #read(id: string): Promise<[JobSchedulerJson<SchedulerData> | undefined, string | null]> {
    return Promise.all([this.#queue.getJobScheduler(id), this.#redis.hget(LAST_RUNS_KEY, id)])
  }

  /** Answers when the next run is due. */
  async #upsert(id: string, repeat: RepeatOptions, data: SchedulerData): Promise<number> {
    const opts = {
      attempts: RUN_ATTEMPTS,
      backoff: { type: 'fixed', delay: RUN_RETRY_MS },
      removeOnComplete: true,
      removeOnFail: true,
      stackTraceLimit: 1,
    }
    for (let round = 1; ; round++) {
      try {
        const job = await this.#queue.upsertJobScheduler(id, repeat, { name: 'run', data, opts })
        return dueAtOf(job)
      } catch (error) {
        // A worker whose clock is ahead holds the very run that would be next.
        const isHeld = (error as { code?: unknown }).code === ErrorCode.SchedulerJobIdCollision
        if (!isHeld || round === PUT_ROUNDS) throw error
        await sleep(PUT_RETRY_MS)
      }
    }
  }
}

/** When the run is due that a job stands for, in ms since 1970: BullMQ makes it the end of the job's id. */
export function dueAtOf({ id = '' }: Pick<Job, 'id'>): number {
  return Number(id.slice(id.lastIndexOf(':') + 1))
}

type RepeatOptions = Parameters<Queue['upsertJobScheduler']>[1]

/**
 * The offset places the runs within their interval, the first one interval from now. Without it BullMQ would run
 * at once, and after a change of the interval reckon with the old one's.
 */
function repeatOptions(timing: Timing, before: JobSchedulerJson | undefined, now: number): RepeatOptions {
  if ('cron' in timing) return { pattern: timing.cron, tz: timing.timeZone }
  const { everyMs } = timing
  const offset = before?.every === everyMs ? before.offset : undefined
  return { every: everyMs, offset: offset ?? (now % everyMs || everyMs) }
}

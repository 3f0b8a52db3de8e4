// The queue of callbacks: what is to be sent where. Its jobs stand for themselves, so that a task may be forgotten
// before its callback is delivered. worker/callback-delivery.ts delivers them.

import type { Queue } from 'bullmq'
import type { Redis } from 'ioredis'
import { type ChannelEvent, viewEvent } from './event.ts'
import { CALLBACK_QUEUE_NAME } from './keys.ts'
import { openQueue } from './open-queue.ts'

/** The data of a job. */
export interface Callback {
  readonly taskId: string
  readonly url: string
  /** JSON text; empty once it has been delivered. */
  readonly body: string
}

/** With the backoff below the last attempt comes a day and a half after the first. */
const ATTEMPTS = 18
const FIRST_RETRY_MS = 1_000

/** Delivered ones stay for a while, so that one which is queued again is known. */
const KEEP_DELIVERED = { age: 60 * 60, count: 10_000 }
/** The dead letters. Ages in seconds. */
const KEEP_DEAD = { age: 7 * 24 * 60 * 60, count: 1_000 }

export class CallbackQueue {
  readonly #queue: Queue<Callback>

  /** `redis` stays the caller's. */
  constructor(redis: Redis) {
    this.#queue = openQueue(CALLBACK_QUEUE_NAME, redis)
  }

  /** Queues the delivery of a task's terminal event. One that is queued already stays as it is. */
  async add({ taskId, url, event }: { taskId: string; url: string; event: ChannelEvent }): Promise<void> {
    const view = viewEvent(event)
    await this.#queue.add(
      view.type,
      { taskId, url, body: JSON.stringify(view) },
      {
        // Also the message's id, `webhook-id`. A task id can be used again, an event's id can't.
        jobId: `${taskId}_${view.id}`,
        attempts: ATTEMPTS,
        backoff: { type: 'exponential', delay: FIRST_RETRY_MS, jitter: 0.2 },
        removeOnComplete: KEEP_DELIVERED,
        removeOnFail: KEEP_DEAD,
        stackTraceLimit: 1,
      },
    )
  }

  /** How many wait for an attempt, are being sent, and have been given up. */
  async counts(): Promise<{ waiting: number; sending: number; dead: number }> {
    const counts = await this.#queue.getJobCounts('wait', 'delayed', 'active', 'failed')
    const { wait = 0, delayed = 0, active = 0, failed = 0 } = counts
    return { waiting: wait + delayed, sending: active, dead: failed }
  }
}

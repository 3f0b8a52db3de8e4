// The bound on how long a request waits for Redis. Every handler does its Redis work through it, but for event
// streams, which outlive an outage.

import type { Redis } from 'ioredis'
import { MillraceError } from '../shared/errors.ts'

/** A single command times out sooner; this bounds several in a row. */
const REDIS_DEADLINE_MS = 2_300

export class RedisGate {
  readonly #redis: Redis
  readonly #deadlineMs: number

  constructor(redis: Redis, deadlineMs = REDIS_DEADLINE_MS) {
    this.#redis = redis
    this.#deadlineMs = deadlineMs
  }

  /** Throws `redis-unavailable` while the connection is down. Enough before a single command. */
  requireOpen(): void {
    if (this.#redis.status === 'ready') return
    throw new MillraceError('redis-unavailable', 'Redis is away. Nothing was done.')
  }

  /**
   * Does the work, or throws `redis-unavailable`: at once while the connection is down, else at the deadline.
   * Work that is late goes on by itself; how it ends is nobody's concern any more.
   */
  run<T>(work: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.requireOpen()
      const done = work()
      const timer = setTimeout(() => reject(unanswered()), this.#deadlineMs)
      const settle =
        <V>(by: (value: V) => void) =>
        (value: V): void => {
          clearTimeout(timer)
          by(value)
        }
      done.then(settle(resolve), settle(reject))
    })
  }
}

/** The refusal of a request on which Redis failed on the way. */
export function unanswered(cause?: unknown): MillraceError {
  return new MillraceError(
    'redis-unavailable',
    'Redis does not answer as it should. What was asked for may have been done or not.',
    { cause },
  )
}

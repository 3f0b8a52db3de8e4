// The demo's channel of the system's own state: every gateway and worker tells of itself there, and one worker of the
// queue.

import type { Redis } from 'ioredis'
import type { NewEvent } from './event.ts'
import { RedisEventLog } from './redis-event-log.ts'

const CHANNEL = 'demo:system'
/** How often each tells. */
export const SAMPLE_INTERVAL_MS = 2_000

/** Ten minutes of nine processes and the queue; when all have gone, so do their samples. */
const RETENTION = { maxEvents: 3_000, ttlMs: 10 * 60 * 1000 }

export class SystemChannel {
  readonly #redis: Redis
  readonly #log: RedisEventLog

  /** `redis` stays the caller's. */
  constructor(redis: Redis) {
    this.#redis = redis
    this.#log = new RedisEventLog(redis, { channels: RETENTION, taskMaxEvents: 0 })
  }

  /** Appends a sample; nothing while Redis is away, since a late one tells nothing. */
  async tell(type: 'gateway' | 'worker' | 'queue', sample: object): Promise<void> {
    if (this.#redis.status !== 'ready') return
    const time = Date.now()
    const event: NewEvent = { type, time, format: 'json', data: JSON.stringify({ ...sample, time }) }
    await this.#log.append(CHANNEL, [event])
  }
}

// The feeds of the demo pages, all of which one tick a second brings on.

import type { Redis } from 'ioredis'
import { type EventLogRetention, RedisEventLog } from '../../shared/redis-event-log.ts'
import { counter } from './counter.ts'
import type { DemoSchedule } from './demo-schedules.ts'
import { advance } from './feed.ts'
import { namedEvents } from './named-events.ts'
import { stocks } from './stocks.ts'

const FEEDS = [counter, namedEvents, ...stocks]
const EVERY_MS = 1_000
/** Ten minutes of what has one event a second. */
const MAX_EVENTS = 600

/** The feeds as a schedule. Their logs and what they have come to are kept as long as other channels. */
export function feedSchedule(redis: Redis, { channels, taskMaxEvents }: EventLogRetention): DemoSchedule {
  const log = new RedisEventLog(redis, { channels: { ...channels, maxEvents: MAX_EVENTS }, taskMaxEvents })
  return {
    id: 'feeds',
    everyMs: EVERY_MS,
    async tick(dueAt) {
      await Promise.all(FEEDS.map(feed => advance(log, feed, dueAt, channels.ttlMs)))
    },
  }
}

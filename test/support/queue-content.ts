/** What BullMQ keeps in Redis, to be compared with what we put there ourselves. */
import type { Queue } from 'bullmq'
import type { Redis } from 'ioredis'

/** Fields of jobs that say when something happened. */
const TIMES = { timestamp: null, processedOn: null }

/** All that a queue keeps but its events, without its name and times. */
export async function contentOf(redis: Redis, queue: Queue): Promise<Record<string, unknown>> {
  const content: Record<string, unknown> = {}
  for (const key of (await redis.keys(`${queue.toKey('')}*`)).sort()) {
    if (key !== queue.toKey('events'))
      content[key.slice(queue.toKey('').length)] = await contentAt(redis, key)
  }
  return content
}

async function contentAt(redis: Redis, key: string): Promise<unknown> {
  switch (await redis.type(key)) {
    case 'hash':
      return { ...(await redis.hgetall(key)), ...TIMES }
    case 'list':
      return redis.lrange(key, 0, -1)
    case 'set':
      return (await redis.smembers(key)).sort()
    case 'zset':
      return (await redis.zrange(key, '0', '-1', 'WITHSCORES')).map(withoutTime)
    default:
      return redis.get(key)
  }
}

/** Scores can be times. */
function withoutTime(text: string): string {
  return Number(text) > 1e12 ? 'a time' : text
}

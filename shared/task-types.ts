// The task types that workers announce in Redis, so that gateways know and check them without loading a
// handler.

import type { Redis } from 'ioredis'
import { TYPES_KEY } from './keys.ts'
import type { Backoff } from './task.ts'

/** An announced type, as `GET /v1/task-types` shows it. */
export interface TaskType {
  readonly type: string
  /** JSON Schema (2020-12) of the input; null when the handler takes anything. */
  readonly inputSchema: object | null
  readonly attempts: number
  /** Absent: none. */
  readonly backoff?: Backoff | undefined
  readonly timeoutMs: number
  /** Its tasks that run at once, but for those with a concurrency key of their own. Absent: any number. */
  readonly concurrency?: number | undefined
}

interface Announcement extends TaskType {
  /** Milliseconds since 1970. */
  readonly announcedAt: number
}

/** A type stays known for this long after the last worker that announced it. */
const TYPE_TTL_MS = 24 * 60 * 60 * 1000

/** Workers repeat their announcement this often. */
export const ANNOUNCE_INTERVAL_MS = 60_000

/** Announces a worker's types; later announcements of a type replace earlier ones. */
export async function announceTaskTypes(redis: Redis, types: readonly TaskType[]): Promise<void> {
  const announcedAt = Date.now()
  const fields = types.map(type => [
    type.type,
    JSON.stringify({ ...type, announcedAt } satisfies Announcement),
  ])
  await redis.hset(TYPES_KEY, Object.fromEntries(fields))
}

/** The types announced within the last {@link TYPE_TTL_MS}, by name. */
export async function readTaskTypes(redis: Redis, now = Date.now()): Promise<TaskType[]> {
  const announcements = Object.values(await redis.hgetall(TYPES_KEY)).map(
    text => JSON.parse(text) as Announcement,
  )
  return announcements
    .filter(({ announcedAt }) => now - announcedAt < TYPE_TTL_MS)
    .map(({ announcedAt: _, ...type }) => type)
    .sort((a, b) => (a.type < b.type ? -1 : 1))
}

// The task types that workers announce in Redis, so that gateways know and check them without loading a
// handler.

import type { Redis } from 'ioredis'
import { z } from 'zod'
import { isDeeperThan, MAX_JSON_DEPTH } from './json-depth.ts'
import { TYPES_KEY } from './keys.ts'
import { type Backoff, TASK_TYPE } from './task.ts'

const DAY_MS = 24 * 60 * 60 * 1_000

/** What a handler may say of its type, and so a worker announce. */
export const TYPE_FIELDS = {
  type: z.string().regex(TASK_TYPE),
  attempts: z.int().min(1).max(25),
  backoff: z
    .strictObject({
      type: z.enum(['fixed', 'exponential']),
      delayMs: z
        .int()
        .min(0)
        .max(30 * DAY_MS),
      jitter: z.number().min(0).max(1).optional(),
    })
    .optional(),
  timeoutMs: z
    .int()
    .min(1)
    .max(7 * DAY_MS),
  concurrency: z.int().min(1).max(1_000).optional(),
}

const isObject = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const announcementSchema = z.object({
  ...TYPE_FIELDS,
  inputSchema: z.custom<object>(isObject).nullable(),
  /** Milliseconds since 1970. */
  announcedAt: z.int(),
})
type Announcement = z.infer<typeof announcementSchema>

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

/** A type stays known for this long after the last worker that announced it. */
const TYPE_TTL_MS = DAY_MS

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

/** The types announced within the last {@link TYPE_TTL_MS}, by name. What is no announcement is passed over. */
export async function readTaskTypes(redis: Redis, now = Date.now()): Promise<TaskType[]> {
  return Object.entries(await redis.hgetall(TYPES_KEY))
    .flatMap(([type, text]) => parseAnnouncement(type, text) ?? [])
    .filter(({ announcedAt }) => now - announcedAt < TYPE_TTL_MS)
    .map(({ announcedAt: _, ...type }) => type)
    .sort((a, b) => (a.type < b.type ? -1 : 1))
}

/** Null for what no worker of this version announces: it would break every submission, of whichever type. */
function parseAnnouncement(type: string, text: string): Announcement | null {
  if (isDeeperThan(MAX_JSON_DEPTH, text)) return null
  let announced: unknown
  try {
    announced = JSON.parse(text)
  } catch {
    return null
  }
  const { data } = announcementSchema.safeParse(announced)
  return data?.type === type ? data : null
}

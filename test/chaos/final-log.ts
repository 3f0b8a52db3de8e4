// The log as it stands in Redis, read with plain commands and none of the product's code: what every record is
// compared with.

import type { Redis } from 'ioredis'
import { ORIGIN, type Position, parsePosition } from '../../shared/event-id.ts'
import { logKey, taskKey } from '../../shared/keys.ts'
import { checksumOf } from './record.ts'

export interface LogEntry extends Position {
  readonly type: string
  readonly checksum: number
  /** The number that its publisher gave it; null for events of tasks. */
  readonly number: number | null
}

const PAGE = 500

export async function readLog(redis: Redis, channel: string): Promise<LogEntry[]> {
  const log: LogEntry[] = []
  for (let after = '-'; ; ) {
    const page = await redis.xrange(logKey(channel), after, '+', 'COUNT', PAGE)
    for (const [id, fields] of page) log.push(entryOf(id, fields))
    if (page.length < PAGE) return log
    after = `(${page.at(-1)![0]}`
  }
}

/** Where each log ends; ORIGIN where there is none. */
export async function readHeads(redis: Redis, channels: readonly string[]): Promise<Position[]> {
  const pipeline = redis.pipeline()
  for (const channel of channels) pipeline.xrevrange(logKey(channel), '+', '-', 'COUNT', 1)
  const replies = (await pipeline.exec()) ?? []
  return replies.map(([error, entries]) => {
    if (error) throw error
    const [last] = entries as [string, string[]][]
    return last ? parsePosition(last[0])! : ORIGIN
  })
}

/** The state of each task; null where there is none. */
export async function readTaskStates(redis: Redis, taskIds: readonly string[]): Promise<(string | null)[]> {
  const pipeline = redis.pipeline()
  for (const id of taskIds) pipeline.hget(taskKey(id), 'state')
  const replies = (await pipeline.exec()) ?? []
  return replies.map(([error, state]) => {
    if (error) throw error
    return state as string | null
  })
}

function entryOf(id: string, fields: string[]): LogEntry {
  const [, type = '', , , format, data = ''] = fields
  const number = format === 'json' ? JSON.parse(data).n : Number.parseInt(data, 10)
  return { ...parsePosition(id)!, type, checksum: checksumOf(type, data), number: number ?? null }
}

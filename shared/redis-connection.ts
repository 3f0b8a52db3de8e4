// How each kind of process connects to Redis. The settings differ, since a gateway has to answer fast while
// Redis is away, and a worker has to wait for it.

import { Redis, type RedisOptions } from 'ioredis'
import type { Logger } from './log.ts'
import type { Health } from './ops-server.ts'

const RETRY_CAP_MS = 500

const COMMON = {
  protocol: 3,
  enableReadyCheck: true,
  // The connection's name says enough, and servers before 7.2 don't know the command.
  disableClientInfo: true,
  retryStrategy: (times: number) => Math.min(times * 50, RETRY_CAP_MS) * (0.5 + Math.random() / 2),
  reconnectOnError: (error: Error) => error.message.startsWith('READONLY'),
} satisfies RedisOptions

/** Past this, what is gathered is sent at once. */
const MAX_GATHERED_CHARS = 4 * 1024

/** A request waits for its count this long, beside what it may take by itself. */
const COUNT_TIMEOUT_MS = 150

const ROLES = {
  /** Commands of a gateway: an answer or an error within 2 s; nothing is sent twice, nothing waits. */
  gateway: {
    maxRetriesPerRequest: 1,
    commandTimeout: 2_000,
    // A connection that went silent is given up: it would be used, in vain, until the kernel notices.
    socketTimeout: 2_000,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
  },
  /** Counts of requests: as above, but given up soon, since counting in memory does for a while. */
  counter: {
    maxRetriesPerRequest: 1,
    commandTimeout: COUNT_TIMEOUT_MS,
    // From then on none waits until Redis is back. Longer than a busy gateway may take to come to an answer.
    socketTimeout: 1_000,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
  },
  /** Subscriptions: the subscriber itself subscribes again, in batches. */
  subscriber: {
    autoResubscribe: false,
    maxRetriesPerRequest: null,
    enableOfflineQueue: false,
    // Whoever gives up a dead connection does not wait for its farewell.
    disconnectTimeout: 100,
  },
  /** Commands of a worker: they wait until Redis is back, and BullMQ demands it. */
  worker: {
    maxRetriesPerRequest: null,
    // As above; BullMQ waits for a job for up to 10 s without a word.
    socketTimeout: 12_000,
    connectTimeout: 3_000,
  },
} satisfies Record<string, RedisOptions>

/** Opens a connection, which reconnects for ever. Its errors go to the log, once for each outage. */
export function connectRedis(url: string, role: keyof typeof ROLES, log: Logger): Redis {
  const redis = new Redis(url, { ...COMMON, ...ROLES[role], connectionName: `millrace-${role}` })
  // What a gateway sends often is gathered already, and somebody waits for it.
  if (role !== 'subscriber') gatherWrites(redis, role === 'worker' ? setImmediate : process.nextTick)
  let away = false
  redis.on('error', (error: Error) => {
    if (!away) log.warn({ connection: role, err: error }, 'Redis is away')
    away = true
  })
  redis.on('ready', () => {
    if (away) log.info({ connection: role }, 'Redis is back')
    away = false
  })
  return redis
}

/**
 * Sends the commands that come until `soon` calls back in one write, since a system call costs more than a command does.
 * ioredis's own auto-pipelining wraps each command in a promise more, which costs what it saves.
 */
function gatherWrites(redis: Redis, soon: (send: () => void) => void): void {
  redis.on('connect', () => {
    const { stream } = redis
    const write = stream.write.bind(stream) as (chunk: string | Buffer) => boolean
    let gathered: (string | Buffer)[] = []
    let gatheredChars = 0
    const flush = () => {
      const chunks = gathered
      gathered = []
      gatheredChars = 0
      if (chunks.length === 0) return
      // What was not sent is sent again, or refused, by ioredis.
      if (!stream.writable) return
      stream.cork()
      // Commands are text but for those with binary arguments; one long string is written faster than many.
      let text = ''
      for (const chunk of chunks) {
        if (typeof chunk === 'string') {
          text += chunk
          continue
        }
        if (text) write(text)
        write(chunk)
        text = ''
      }
      if (text) write(text)
      stream.uncork()
    }
    // ioredis neither asks for an encoding nor heeds the answer.
    stream.write = (chunk: string | Buffer) => {
      gatheredChars += chunk.length
      if (gathered.push(chunk) === 1) soon(flush)
      // Redis works on these while more of them are made.
      if (gatheredChars >= MAX_GATHERED_CHARS) flush()
      return true
    }
  })
}

/** Whether Redis answers, and whether it is set up as a broker needs it. */
export async function checkRedis(redis: Redis): Promise<Health> {
  try {
    const info = await withTimeout(redis.info(), 2_000)
    const field = (name: string): string => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1] ?? ''
    const warnings = []
    const policy = field('maxmemory_policy')
    if (policy && policy !== 'noeviction')
      warnings.push(`Redis has maxmemory-policy ${policy}: set noeviction, or tasks can be lost`)
    if (field('aof_enabled') === '0')
      warnings.push('Redis has no append-only file: tasks are lost when it restarts')
    const problems = Number.parseInt(field('redis_version'), 10) < 7 ? ['Redis is older than 7.0'] : []
    return { ok: problems.length === 0, problems, warnings }
  } catch {
    return { ok: false, problems: ['Redis does not answer'] }
  }
}

/** Rejects when a promise takes longer; for connections whose commands wait without limit. */
export async function withTimeout<T>(pending: Promise<T>, timeoutMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs)
  })
  return Promise.race([pending, timeout]).finally(() => clearTimeout(timer))
}

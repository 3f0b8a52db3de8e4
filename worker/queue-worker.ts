// What the workers of BullMQ have in common of which a worker process is made: one for each of its queues.

import {
  type BackendFactory,
  createRedisBackend,
  type Processor,
  type RedisQueueBackend,
  Worker,
  type WorkerOptions,
} from 'bullmq'
import type { Redis } from 'ioredis'
import { QUEUE_PREFIX } from '../shared/keys.ts'
import type { Logger } from '../shared/log.ts'
import { LOCK_MS } from './lock-keeper.ts'

/**
 * How often jobs without a lock are looked for: by one worker for all. With the lock's 8 s a killed worker's job
 * waits at most 11 s for the next one.
 */
const STALLED_CHECK_MS = 3_000
/** Past this BullMQ would fail a job by itself, and nobody would be told. */
const MAX_STALLED = 1_000_000_000
/** After an error of Redis; BullMQ's own 15 s are long after an outage. */
const FETCH_RETRY_MS = 1_000

export interface QueueWorkerOptions
  extends Pick<WorkerOptions, 'skipLockRenewal' | 'removeOnComplete' | 'removeOnFail'> {
  /** For commands; BullMQ opens a second connection like it, for waiting. It stays the caller's. */
  readonly redis: Redis
  /** Jobs that are worked on at once. */
  readonly concurrency: number
  readonly backendFactory?: BackendFactory<RedisQueueBackend>
  readonly log: Logger
}

/** A worker of a queue, which does nothing before its `run()`. */
export function createQueueWorker<Data>(
  queue: string,
  process: Processor<Data>,
  { redis, log, backendFactory = createRedisBackend, ...options }: QueueWorkerOptions,
): Worker<Data> {
  const settings = {
    ...options,
    connection: redis,
    prefix: QUEUE_PREFIX,
    autorun: false,
    lockDuration: LOCK_MS,
    stalledInterval: STALLED_CHECK_MS,
    maxStalledCount: MAX_STALLED,
    runRetryDelay: FETCH_RETRY_MS,
  }
  const worker = new Worker<Data>(queue, process, settings, backendFactory)
  // Outages are said once, by the connection itself; what Redis refuses is news.
  worker.on('error', error =>
    log[error.name === 'ReplyError' ? 'warn' : 'debug']({ err: error, queue }, 'a queue had an error'),
  )
  return worker
}

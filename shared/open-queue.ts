// Opens a queue of BullMQ for those who put jobs into it.

import { Queue } from 'bullmq'
import type { Redis } from 'ioredis'
import { QUEUE_PREFIX } from './keys.ts'

/** `redis` stays the caller's. */
export function openQueue<Data>(name: string, redis: Redis): Queue<Data> {
  const queue = new Queue<Data>(name, {
    connection: redis,
    prefix: QUEUE_PREFIX,
    skipMetasUpdate: true,
    // The check is asked once, and where Redis fails to answer just then, every later call fails with it.
    skipVersionCheck: true,
  })
  // Faults of the connection surface in the calls; without a listener they would end the process.
  queue.on('error', () => undefined)
  return queue
}

/** Waits until a Redis server that was just launched answers. */
import { Redis } from 'ioredis'
import type { RedisProcess } from './redis-process.ts'

const READY_TIMEOUT_MS = 60_000
const RETRY_MS = 25

/** Rejects with the server's own last line when it ends, and after a minute of silence. */
export async function untilReady(url: string, server: RedisProcess): Promise<void> {
  const client = new Redis(url, { retryStrategy: () => RETRY_MS, maxRetriesPerRequest: null })
  // Refused connections are what the wait is about.
  client.on('error', () => {})
  let timer: NodeJS.Timeout | undefined
  try {
    await Promise.race([
      // The client itself holds the command back while the data set is loading.
      client.ping(),
      server.exited.then(how => {
        throw new Error(`Redis ${how}: ${server.lastLine()}`)
      }),
      new Promise((_, reject) => {
        const late = () => reject(new Error(`Redis gave no answer on ${url}: ${server.lastLine()}`))
        timer = setTimeout(late, READY_TIMEOUT_MS)
      }),
    ])
  } finally {
    clearTimeout(timer)
    client.disconnect()
  }
}

/** Waits until a Redis server that was just launched answers. */
import { Redis } from 'ioredis'
import type { RedisProcess } from './redis-process.ts'

const READY_TIMEOUT_MS = 60_000
const RETRY_MS = 25
/** What a server in a container takes for its own process id. */
const CONTAINER_PID = 1

/** Rejects with the server's own last line when it ends, after a minute of silence, or when told by `signal`. */
export async function untilReady(url: string, server: RedisProcess, signal?: AbortSignal): Promise<void> {
  const client = new Redis(url, { retryStrategy: () => RETRY_MS, maxRetriesPerRequest: null })
  // Refused connections are what the wait is about.
  client.on('error', () => {})
  const giveUp = AbortSignal.any([AbortSignal.timeout(READY_TIMEOUT_MS), ...(signal ? [signal] : [])])
  try {
    await Promise.race([
      answer(client, url, server),
      server.exited.then(how => {
        throw new Error(`Redis ${how}: ${server.lastLine()}`)
      }),
      new Promise((_, reject) => {
        const late = () => reject(new Error(`Redis gave no answer on ${url}: ${server.lastLine()}`))
        giveUp.addEventListener('abort', late)
      }),
    ])
  } finally {
    client.disconnect()
  }
}

/** The client itself holds a command back while the data set is loading. */
async function answer(client: Redis, url: string, server: RedisProcess): Promise<void> {
  const info = await client.info('server')
  const pid = Number(/^process_id:(\d+)/m.exec(info)?.[1])
  // Another server may have taken the port, and would answer just as well.
  if (pid !== server.pid && pid !== CONTAINER_PID)
    throw new Error(`${url} is already in use by process ${pid}`)
}

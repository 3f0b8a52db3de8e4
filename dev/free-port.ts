/** Finds a loopback port for a server that will be restarted on it. */
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'

/**
 * Below every system's ephemeral range. From within that range the kernel could lend the port to an outgoing
 * connection while the server is down; a client that keeps reconnecting can even be connected to itself.
 */
const LOWEST = 15_000
const HIGHEST = 32_000
const ATTEMPTS = 50

/** Free a moment ago; the caller must be ready to see it taken. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const port = randomInt(LOWEST, HIGHEST)
    if (await isFree(port)) return port
  }
  throw new Error(`no free port on 127.0.0.1 between ${LOWEST} and ${HIGHEST}`)
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer()
  try {
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    return true
  } catch {
    return false
  } finally {
    server.close()
  }
}

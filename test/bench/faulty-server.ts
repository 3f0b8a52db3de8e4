// An event server with a fault of a test's choice in it, for the load client to find.

import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { readBody, STREAM_HEADERS } from '../../bench/reference/bench-server.ts'

export interface FaultyServer {
  readonly port: number
  close(): Promise<void>
}

/** What a server writes to its viewer number `viewer` for the event number `event`, both from 1. */
export type Delivery = (frame: string, event: number, viewer: number) => string[]

/** One channel, whatever the path. */
export async function startFaultyServer(deliver: Delivery): Promise<FaultyServer> {
  const viewers: ServerResponse[] = []
  let events = 0
  const server = createServer(async (request, response) => {
    if (request.method === 'GET') {
      viewers.push(response)
      response.writeHead(200, STREAM_HEADERS).write(':\n\n')
      return
    }
    const frame = `data: ${await readBody(request)}\n\n`
    events++
    for (const [i, viewer] of viewers.entries()) {
      for (const piece of deliver(frame, events, i + 1)) viewer.write(piece)
    }
    response.writeHead(201, { 'Content-Length': 2 }).end('{}')
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      const closed = new Promise(resolve => server.close(resolve))
      server.closeAllConnections()
      await closed
    },
  }
}

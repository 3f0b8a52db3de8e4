// What both reference servers need to be servers of the benchmark.

import type { IncomingMessage, Server } from 'node:http'
import type { AddressInfo } from 'node:net'

export const STREAM_HEADERS = { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' }

/** Publishers that wait for a slow server stay connected, as with a gateway. */
const KEEP_ALIVE_MS = 75_000

/** Listens on a free loopback port, tells the parent, and ends with it. */
export function listenForBench(server: Server): void {
  server.keepAliveTimeout = KEEP_ALIVE_MS
  server.listen(0, '127.0.0.1', () => {
    process.send?.({ ready: true, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` })
  })
  process.on('disconnect', () => process.exit())
}

/** Any path is a channel. */
export function channelOf(request: IncomingMessage): string {
  return request.url!.split('?', 1)[0]!
}

/** As text. Nothing bounds it: only the benchmark's own publisher sends. */
export async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}

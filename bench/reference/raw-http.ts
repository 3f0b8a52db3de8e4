// Reference (i): Node's bare `http` server. What is published is made into one Buffer and written to every
// viewer of the channel with `res.write`. No Redis, no log, no replay.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { channelOf, listenForBench, readBody, STREAM_HEADERS } from './bench-server.ts'

const viewers = new Map<string, Set<ServerResponse>>()

const server = createServer((request, response) => {
  if (request.method === 'POST') void publish(request, response)
  else subscribe(channelOf(request), response)
})

function subscribe(channel: string, response: ServerResponse): void {
  const set = viewers.get(channel) ?? new Set()
  viewers.set(channel, set.add(response))
  response.on('close', () => set.delete(response))
  response.writeHead(200, STREAM_HEADERS).write(':\n\n')
}

async function publish(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const frame = Buffer.from(`data: ${await readBody(request)}\n\n`)
  for (const viewer of viewers.get(channelOf(request)) ?? []) viewer.write(frame)
  response.writeHead(201, { 'Content-Type': 'application/json', 'Content-Length': 2 }).end('{}')
}

listenForBench(server)

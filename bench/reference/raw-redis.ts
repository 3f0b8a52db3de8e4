// Reference (ii): what one writes first on Node's `http` and ioredis. Publishing is JSON.parse, XADD, PUBLISH;
// delivery is JSON.parse and one `res.write` a viewer; replay reads the log with XRANGE once a viewer. Between
// replay and live it may lose or double events: a reference for speed alone.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { Redis } from 'ioredis'
import { channelOf, listenForBench, readBody, STREAM_HEADERS } from './bench-server.ts'

/** As many as a channel of Millrace keeps. */
const MAX_EVENTS = 10_000

const url = process.argv[2]!
const redis = new Redis(url)
const subscriber = new Redis(url)
const viewers = new Map<string, Set<ServerResponse>>()

interface LogEvent {
  id: string
  type: string
  data: unknown
}

subscriber.on('message', (channel: string, message: string) => {
  const frame = frameOf(JSON.parse(message) as LogEvent)
  for (const viewer of viewers.get(channel) ?? []) viewer.write(frame)
})

const server = createServer((request, response) => {
  const answer = request.method === 'POST' ? publish : subscribe
  answer(request, response).catch(() => response.destroy())
})

async function publish(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const channel = channelOf(request)
  const { type, data } = JSON.parse(await readBody(request))
  const fields = ['type', type, 'data', JSON.stringify(data)]
  const id = await redis.xadd(`log:${channel}`, 'MAXLEN', '~', MAX_EVENTS, '*', ...fields)
  await redis.publish(channel, JSON.stringify({ id, type, data }))
  const body = JSON.stringify({ ids: [id] })
  const headers = { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) }
  response.writeHead(201, headers).end(body)
}

async function subscribe(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const channel = channelOf(request)
  let set = viewers.get(channel)
  if (!set) {
    set = new Set()
    viewers.set(channel, set)
    await subscriber.subscribe(channel)
  }
  set.add(response)
  response.on('close', () => set.delete(response))
  response.writeHead(200, STREAM_HEADERS).write(':\n\n')
  const after = request.headers['last-event-id']
  if (after !== undefined) response.write(await missedSince(channel, String(after)))
}

async function missedSince(channel: string, after: string): Promise<string> {
  const entries = await redis.xrange(`log:${channel}`, `(${after}`, '+')
  return entries
    .map(([id, fields]) => frameOf({ id, type: fields[1]!, data: JSON.parse(fields[3]!) }))
    .join('')
}

function frameOf({ id, type, data }: LogEvent): string {
  return `id: ${id}\nevent: ${type}\ndata: ${JSON.stringify(data)}\n\n`
}

listenForBench(server)

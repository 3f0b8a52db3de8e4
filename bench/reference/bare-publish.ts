// What publishing can reach on Node's `http` and Redis: raw-redis.ts less all that is not needed for an event to be
// logged and delivered. What came in one turn of the event loop goes to Redis as one script, bodies are not parsed, and
// an event is written straight to the socket. No replay.

import { createServer, type ServerResponse } from 'node:http'
import { Redis } from 'ioredis'
import { answer, deliver, subscribe, withBody } from './bare-socket.ts'
import { channelOf, listenForBench } from './bench-server.ts'

/** ARGV: channel, body, channel, body, … Answers the ids. */
const PUBLISH = `
local ids = {}
for i = 1, #ARGV, 2 do
  ids[#ids + 1] = redis.call('XADD', 'log:' .. ARGV[i], 'MAXLEN', '~', 10000, '*', 'data', ARGV[i + 1])
  redis.call('PUBLISH', ARGV[i], ARGV[i + 1])
end
return ids`

const url = process.argv[2]!
const redis = new Redis(url)
const subscriber = new Redis(url)
const digest = (await redis.script('LOAD', PUBLISH)) as string

let waiting: { channel: string; body: string; response: ServerResponse }[] = []

async function publish(): Promise<void> {
  const events = waiting
  waiting = []
  const args = events.flatMap(({ channel, body }) => [channel, body])
  const ids = (await redis.evalsha(digest, 0, ...args)) as string[]
  for (const [i, { response }] of events.entries()) answer(response, `{"ids":["${ids[i]}"]}`)
}

subscriber.on('message', deliver)

const server = createServer((request, response) => {
  const channel = channelOf(request)
  if (request.method !== 'POST') {
    if (subscribe(request, response)) void subscriber.subscribe(channel)
    return
  }
  withBody(request, body => {
    if (waiting.push({ channel, body, response }) === 1) setImmediate(publish)
  })
})

listenForBench(server)

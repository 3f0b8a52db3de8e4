// The viewers of a server that writes past `http`: the head of the answer by `http`, all events as ready chunks straight
// to the socket.

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { channelOf, STREAM_HEADERS } from './bench-server.ts'

const viewers = new Map<string, Set<Socket>>()

/** Answers whether the channel had no viewer before. */
export function subscribe(request: IncomingMessage, response: ServerResponse): boolean {
  const channel = channelOf(request)
  const known = viewers.get(channel)
  const set = known ?? new Set()
  const { socket } = request
  viewers.set(channel, set.add(socket))
  socket.on('close', () => set.delete(socket))
  response.writeHead(200, STREAM_HEADERS).write(':\n\n')
  return !known
}

/** Writes an event to all viewers of a channel; `data` has no line break. */
export function deliver(channel: string, data: string): void {
  const frame = `data: ${data}\n\n`
  const chunk = Buffer.from(`${Buffer.byteLength(frame).toString(16)}\r\n${frame}\r\n`)
  for (const socket of viewers.get(channel) ?? []) socket.write(chunk)
}

/** Calls back with the body, which is read without a promise. */
export function withBody(request: IncomingMessage, use: (body: string) => void): void {
  let body = ''
  request.setEncoding('utf8')
  request.on('data', text => {
    body += text
  })
  request.on('end', () => use(body))
}

const CREATED = { 'Content-Type': 'application/json' }

export function answer(response: ServerResponse, body: string): void {
  response.writeHead(201, { ...CREATED, 'Content-Length': body.length }).end(body)
}

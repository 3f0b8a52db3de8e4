// POST over HTTP where it matters what became of a request: nothing is ever sent twice.

import { Agent, request } from 'node:http'

export interface Reply {
  readonly status: number
  readonly body: string
}

/** It never got out, since nobody listens there. */
export class NotSent extends Error {}

/** A gateway answers within 2.5 s; one that is frozen does not. */
const TIMEOUT_MS = 8_000

/** Connections that callers share, since a publish costs little beside a connection. */
export function postAgent(): Agent {
  return new Agent({ keepAlive: true })
}

/** Throws {@link NotSent}, or any other error when what became of it is unknown. */
export function post(url: string, body: string, contentType: string, agent: Agent): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, {
      method: 'POST',
      agent,
      signal: AbortSignal.timeout(TIMEOUT_MS),
      headers: { 'Content-Type': contentType, 'Content-Length': Buffer.byteLength(body) },
    })
    outgoing.on('error', (error: NodeJS.ErrnoException) =>
      reject(error.code === 'ECONNREFUSED' ? new NotSent() : error),
    )
    outgoing.on('response', response => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (part: string) => {
        text += part
      })
      response.on('error', reject)
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: text }))
    })
    outgoing.end(body)
  })
}

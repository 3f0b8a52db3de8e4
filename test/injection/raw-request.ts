// Requests as no client library sends them: paths as they are given, bodies of any bytes.

import { type IncomingHttpHeaders, request } from 'node:http'
import { expect } from '@jest/globals'
import { createParser } from 'eventsource-parser'
import type { SeenEvent } from '../support/viewer.ts'
import { expectOnlyFrames } from './broker.ts'

export interface RawRequest {
  readonly method: string
  /** With the query, sent as it stands. */
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

export interface RawAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
}

/** Of an event stream that does not end, what comes with its head. */
export async function send(
  url: string,
  { method, path, headers = {}, body }: RawRequest,
): Promise<RawAnswer> {
  const bytes = body === undefined ? undefined : Buffer.from(body)
  return new Promise((resolve, reject) => {
    const sent = request(
      url,
      { method, path, headers: { ...headers, ...(bytes && { 'Content-Length': bytes.length }) } },
      answer => {
        let text = ''
        const done = () => resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text })
        answer.setEncoding('utf8')
        answer.on('data', chunk => {
          text += chunk
          if (!answer.headers['content-type']?.startsWith('text/event-stream')) return
          done()
          sent.destroy()
        })
        answer.on('end', done)
        answer.on('error', reject)
      },
    )
    sent.on('error', reject)
    sent.end(bytes)
  })
}

/** All that an answer may carry. */
const HEADERS = new Set([
  'accept-ranges',
  'access-control-allow-credentials',
  'access-control-allow-origin',
  'access-control-expose-headers',
  'allow',
  'cache-control',
  'connection',
  'content-length',
  'content-security-policy',
  'content-type',
  'cross-origin-opener-policy',
  'cross-origin-resource-policy',
  'date',
  'etag',
  'idempotency-replayed',
  'keep-alive',
  'location',
  'permissions-policy',
  'preference-applied',
  'ratelimit',
  'ratelimit-policy',
  'referrer-policy',
  'retry-after',
  'strict-transport-security',
  'transfer-encoding',
  'vary',
  'www-authenticate',
  'x-accel-buffering',
  'x-content-type-options',
  'x-frame-options',
  'x-request-id',
])

/** Whatever was asked: it is answered, by the gateway's own words, and a refusal as problem details. */
export function expectSound({ status, headers, text }: RawAnswer): void {
  expect(status).toBeGreaterThanOrEqual(200)
  expect(status).toBeLessThan(500)
  expect(Object.keys(headers).filter(name => !HEADERS.has(name))).toEqual([])
  expect(headers['x-request-id']).toMatch(/^[A-Za-z0-9._-]{1,128}$/)
  const type = headers['content-type']
  if (status >= 400) {
    expect(type).toBe('application/problem+json')
    const { code } = text === '' ? { code: 'of a HEAD' } : JSON.parse(text)
    expect(code).toEqual(expect.any(String))
    if (text === '') return
    expect(JSON.parse(text)).toMatchObject({
      type: `urn:millrace:problem:${code}`,
      title: expect.any(String),
      status,
      detail: expect.any(String),
      requestId: headers['x-request-id'],
    })
    expect(text).not.toMatch(/ioredis|node_modules|ReplyError|ECONNREFUSED/)
  } else if (type?.startsWith('application/json') && text !== '') {
    JSON.parse(text)
  } else if (type?.startsWith('text/event-stream')) {
    expectOnlyFrames(text, eventsIn(text))
  }
}

function eventsIn(text: string): SeenEvent[] {
  const events: SeenEvent[] = []
  const parser = createParser({
    onEvent: ({ id = '', event = 'message', data }) => events.push({ id, type: event, data }),
  })
  parser.feed(text)
  return events
}

/** Calls to a gateway, and refusals as the contract describes them. */
import { expect } from '@jest/globals'

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  /** The body as JSON; undefined when it isn't. */
  // biome-ignore lint/suspicious/noExplicitAny: tests look at it from outside
  readonly body: any
}

export interface Call {
  method?: string
  headers?: Record<string, string>
  /** Sent as it is when it is text or bytes, else as JSON. */
  body?: unknown
}

/** POSTs when there is a body, else GETs, unless it is said. */
export async function call(url: string, { method, headers = {}, body }: Call = {}): Promise<Answer> {
  const raw = typeof body === 'string' || body instanceof Uint8Array
  const response = await fetch(url, {
    method: method ?? (body === undefined ? 'GET' : 'POST'),
    headers: { 'Content-Type': 'application/json', ...headers },
    ...(body !== undefined && { body: raw ? (body as string) : JSON.stringify(body) }),
  })
  const text = await response.text()
  return { status: response.status, headers: response.headers, text, body: parse(text) }
}

/** Checks that an answer is the problem that is meant, complete and without anything internal. */
export function expectProblem(answer: Answer, status: number, code: string, paths?: readonly string[]): void {
  expect({ status: answer.status, body: answer.body }).toMatchObject({ status, body: { status, code } })
  expect(answer.headers.get('content-type')).toBe('application/problem+json')
  expect(answer.body).toMatchObject({
    type: `urn:millrace:problem:${code}`,
    title: expect.any(String),
    detail: expect.any(String),
    requestId: answer.headers.get('x-request-id'),
  })
  expect(answer.text).not.toMatch(/ioredis|node_modules|\.[jt]s:\d|ReplyError|ECONNREFUSED|\bat .*\(/)
  if (paths) expect(answer.body.errors.map(({ path }: { path: string }) => path)).toEqual(paths)
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

// How answers leave: the headers that all of them have, and JSON, head and body in one write.

import { type ServerResponse, STATUS_CODES } from 'node:http'
import type { Context } from 'koa'
import { requestIdOf } from './request-id.ts'

const JSON_TYPE = 'application/json; charset=utf-8'

/** Few, since each of them costs on every answer. They keep a browser from making more of it than it is. */
const COMMON: readonly (readonly [name: string, value: string])[] = [
  ['Content-Security-Policy', "default-src 'none'; frame-ancestors 'none'"],
  ['X-Content-Type-Options', 'nosniff'],
  ['Cross-Origin-Resource-Policy', 'same-origin'],
]
const COMMON_PAIRS = COMMON.flat()
/** Tasks and events are the caller's business; pages and streams say otherwise. */
const CACHE_CONTROL = ['Cache-Control', 'no-store'] as const

/** What the head of every answer begins with, as pairs for `writeHead`. */
export function commonHead(ctx: Context): string[] {
  return [...COMMON_PAIRS, 'X-Request-Id', requestIdOf(ctx)]
}

/**
 * Answers JSON, past `ctx.body`: to set each header by itself, and to find out what the body is, takes a tenth of the
 * time of a publish. Headers that were set before go with it.
 */
export function answerJson(
  ctx: Context,
  status: number,
  value: unknown,
  headers: Readonly<Record<string, string>> = {},
  type = JSON_TYPE,
): void {
  const head = commonHead(ctx)
  head.push(...CACHE_CONTROL, 'Content-Type', type)
  for (const name in headers) head.push(name, headers[name]!)
  ctx.respond = false
  const body = JSON.stringify(value)
  if (isPlain(ctx) && endAsOneText(ctx.res, status, head, body)) return
  head.push('Content-Length', String(Buffer.byteLength(body)))
  ctx.res.writeHead(status, head).end(body)
}

/** Whether there is nothing to consider for an answer but what it says itself. */
function isPlain({ req, res }: Context): boolean {
  const { method, httpVersion, headers } = req
  const asksForMore = method === 'HEAD' || httpVersion !== '1.1' || headers.expect !== undefined
  return !asksForMore && res.getHeaderNames().length === 0
}

/** What stands behind `writeHead` and `end`, as far as it is touched here (Node 20 to 24). */
interface ResponseInside {
  _contentLength: number | null
  _header: string | null
  _storeHeader?(head: string, headers: null): void
}

/** What Node refuses in a header (RFC 9110, section 5.5). */
const NOT_IN_HEADERS = /[^\t\x20-\x7e\x80-\xff]/

/**
 * Ends an answer in one string. Node looks at each header by itself, and sends the body as a second string; so it takes
 * twice as long. Where its inside is not as expected nothing is done, and the answer is false.
 */
function endAsOneText(
  response: ServerResponse,
  status: number,
  head: readonly string[],
  body: string,
): boolean {
  const inside = response as unknown as ResponseInside
  if (inside._storeHeader === undefined || inside._header !== null) return false
  let text = `HTTP/1.1 ${status} ${STATUS_CODES[status]}`
  for (let i = 0; i < head.length; i += 2) {
    if (NOT_IN_HEADERS.test(head[i + 1]!)) return false
    text += `\r\n${head[i]}: ${head[i + 1]}`
  }
  const bytes = Buffer.byteLength(body)
  response.statusCode = status
  inside._contentLength = bytes
  // Adds what depends on the connection, and the length.
  inside._storeHeader(`${text}\r\n`, null)
  // It is sent as latin1: characters that are bytes.
  inside._header = `${inside._header}${bytes === body.length ? body : Buffer.from(body).toString('latin1')}`
  response.end()
  return true
}

/** For every other answer: what is not set yet of the headers that all have. */
export function setCommonHeaders(ctx: Context): void {
  ctx.res.setHeader('X-Request-Id', requestIdOf(ctx))
  for (const [name, value] of [...COMMON, CACHE_CONTROL])
    if (!ctx.res.hasHeader(name)) ctx.res.setHeader(name, value)
}

// How answers leave: the headers that all of them have, and JSON, head and body in one write.

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
  const body = JSON.stringify(value)
  const head = commonHead(ctx)
  head.push(...CACHE_CONTROL, 'Content-Type', type, 'Content-Length', String(Buffer.byteLength(body)))
  for (const name in headers) head.push(name, headers[name]!)
  ctx.respond = false
  ctx.res.writeHead(status, head).end(body)
}

/** For every other answer: what is not set yet of the headers that all have. */
export function setCommonHeaders(ctx: Context): void {
  ctx.res.setHeader('X-Request-Id', requestIdOf(ctx))
  for (const [name, value] of [...COMMON, CACHE_CONTROL])
    if (!ctx.res.hasHeader(name)) ctx.res.setHeader(name, value)
}

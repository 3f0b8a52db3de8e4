// Reads request bodies: bounded in size and depth, UTF-8, JSON or plain text.

import { isUtf8 } from 'node:buffer'
import type { IncomingMessage } from 'node:http'
import type { Context } from 'koa'
import { MillraceError } from '../../shared/errors.ts'
import { MAX_JSON_DEPTH } from '../../shared/json-depth.ts'

const MAX_BODY_BYTES = 1024 * 1024

const BYTE_ORDER_MARK = '\uFEFF'

/** The body as JSON, whatever its content type says. Throws `invalid-json` or `body-too-large`. */
export async function readJson(ctx: Context): Promise<unknown> {
  return parseJson(await readBody(ctx))
}

/** Like {@link readJson}; undefined when there is no body. */
export async function readOptionalJson(ctx: Context): Promise<unknown> {
  const body = await readBody(ctx)
  return body.length === 0 ? undefined : parseJson(body)
}

/** The body as the text that it is. Throws `invalid-header`, `invalid-request` or `body-too-large`. */
export async function readText(ctx: Context): Promise<string> {
  const { charset } = ctx.request
  if (charset && !/^(utf-?8|us-ascii)$/i.test(charset)) {
    throw new MillraceError('invalid-header', 'Content-Type: text has to be UTF-8')
  }
  const text = decode(await readBody(ctx))
  if (text === null) throw new MillraceError('invalid-request', 'the body is not UTF-8')
  return text
}

function readBody(ctx: Context): Promise<Buffer> {
  const encoding = ctx.get('Content-Encoding')
  if (encoding && encoding.toLowerCase() !== 'identity') {
    throw new MillraceError('invalid-header', 'Content-Encoding: the body has to come as it is')
  }
  if (Number(ctx.get('Content-Length')) > MAX_BODY_BYTES) throw tooLarge()
  return gather(ctx.req)
}

/** By bare listeners: most bodies come whole with their head, and what libraries do besides shows in the profile. */
function gather(request: IncomingMessage): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let bytes = 0
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes > MAX_BODY_BYTES) {
        // What else comes is left with the kernel.
        request.removeAllListeners('data').pause()
        reject(tooLarge())
      } else chunks.push(chunk)
    })
    request.on('end', () => resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)))
    request.on('error', cause =>
      reject(new MillraceError('invalid-request', 'the body did not come to its end', { cause })),
    )
  })
}

function tooLarge(): MillraceError {
  return new MillraceError('body-too-large', `a body has at most ${MAX_BODY_BYTES} bytes`)
}

function parseJson(body: Buffer): unknown {
  if (body.length === 0) throw new MillraceError('invalid-json', 'the body is empty')
  const text = decode(body)
  if (text === null) throw new MillraceError('invalid-json', 'the body is not UTF-8')
  let value: unknown
  try {
    value = JSON.parse(text.startsWith(BYTE_ORDER_MARK) ? text.slice(1) : text)
  } catch (error) {
    throw new MillraceError('invalid-json', (error as Error).message)
  }
  checkStructure(value)
  return value
}

/** Not by a TextDecoder: to make one costs more than to read a body of the usual size. */
function decode(body: Buffer): string | null {
  return isUtf8(body) ? body.toString() : null
}

/** Refuses depth, and numbers that JSON.parse turned into Infinity and JSON.stringify would turn into null. */
function checkStructure(root: unknown): void {
  let level: unknown[] = [root]
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > MAX_JSON_DEPTH) {
      throw new MillraceError('invalid-json', `the body nests deeper than ${MAX_JSON_DEPTH} levels`)
    }
    const nested: unknown[] = []
    for (const value of level) {
      if (typeof value === 'object' && value !== null)
        for (const item of Object.values(value)) nested.push(item)
      else if (typeof value === 'number' && !Number.isFinite(value))
        throw new MillraceError('invalid-json', 'the body has a number that is too large')
    }
    level = nested
  }
}

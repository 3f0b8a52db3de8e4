// Where the bytes of a CSV come from: the task's own input, or a URL among the allowed targets.

import { Readable } from 'node:stream'
import { HandlerError } from '../../handler-error.ts'
import { asHandlerError, type HttpTarget, openHttpTarget } from '../../http-targets.ts'

export interface CsvSource {
  readonly stream: Readable
  /** Null if the server doesn't tell. */
  readonly totalBytes: number | null
  /** What a failure of the stream means to the task. */
  readonly asFailure: (error: unknown) => unknown
}

/** The parser works off a chunk in one go, so this bounds how long it holds up the event loop. */
const CHUNK_BYTES = 65_536

export function inlineCsv(csv: string): CsvSource {
  const bytes = Buffer.from(csv)
  const chunks = function* () {
    for (let at = 0; at < bytes.length; at += CHUNK_BYTES) yield bytes.subarray(at, at + CHUNK_BYTES)
  }
  return { stream: Readable.from(chunks()), totalBytes: bytes.length, asFailure: error => error }
}

/** Throws HandlerErrors: those of openHttpTarget, `http-status` (retryable on 5xx, 408, 429), `unsupported-encoding`. */
export async function remoteCsv(
  url: string,
  targets: readonly HttpTarget[],
  signal: AbortSignal,
): Promise<CsvSource> {
  const { statusCode, headers, body } = await openHttpTarget(targets, url, { signal })
  const refuse = (code: string, what: string, retryable: boolean) => {
    body.on('error', () => {}).destroy()
    return new HandlerError(code, `The server of the CSV ${what}`, { retryable })
  }
  if (statusCode < 200 || statusCode > 299) {
    const retryable = statusCode >= 500 || statusCode === 408 || statusCode === 429
    throw refuse('http-status', `answered ${statusCode}`, retryable)
  }
  const encoding = headers['content-encoding'] ?? 'identity'
  if (encoding !== 'identity') throw refuse('unsupported-encoding', `sent it as ${encoding}`, false)
  const length = Number(headers['content-length'] ?? Number.NaN)
  return {
    stream: body,
    totalBytes: Number.isSafeInteger(length) ? length : null,
    asFailure: error => asHandlerError(error, new URL(url)),
  }
}

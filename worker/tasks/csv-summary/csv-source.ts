// Where the bytes of a CSV come from: the task's own input, or a URL among the allowed targets.

import { Readable } from 'node:stream'
import type { HttpTarget } from '../../../shared/http-targets.ts'
import { asHandlerError, openHttpTarget } from '../../open-http-target.ts'
import { requireAnswer } from '../../target-answer.ts'

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

/** Throws the HandlerErrors of openHttpTarget and of requireAnswer. */
export async function remoteCsv(
  url: string,
  targets: readonly HttpTarget[],
  signal: AbortSignal,
): Promise<CsvSource> {
  const parsed = new URL(url)
  const response = await openHttpTarget(targets, url, { signal })
  await requireAnswer(response, parsed)
  const length = Number(response.headers['content-length'] ?? Number.NaN)
  return {
    stream: response.body,
    totalBytes: Number.isSafeInteger(length) ? length : null,
    asFailure: error => asHandlerError(error, parsed),
  }
}

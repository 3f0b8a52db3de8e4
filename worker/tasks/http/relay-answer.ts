// Makes a task's result of a service's answer: plain JSON is the result itself; NDJSON and event streams are
// relayed line by line until one of them ends the task.

import type { Dispatcher } from 'undici'
import type { TaskContext } from '../../define-task.ts'
import { HandlerError } from '../../handler-error.ts'
import { MAX_RESULT_BYTES } from '../../task-result.ts'
import { type AnswerLine, eventStreamLines, invalidAnswer, ndjsonLines, preview } from './answer-lines.ts'
import { relayLine } from './relay-line.ts'

/** After its last line a service has this long to end its answer in peace; then the connection is cut. */
const FAREWELL_MS = 1_000

/** A result of its full size, with some white space. */
const MAX_ANSWER_BYTES = MAX_RESULT_BYTES + 64 * 1024

const STREAMS: Readonly<Record<string, (body: AsyncIterable<Buffer>) => AsyncIterable<AnswerLine>>> = {
  'text/event-stream': eventStreamLines,
  'application/x-ndjson': ndjsonLines,
  'application/ndjson': ndjsonLines,
  'application/jsonl': ndjsonLines,
  'application/x-jsonlines': ndjsonLines,
  'application/json-lines': ndjsonLines,
}

/**
 * The result. Throws what the service says in an `error` line, and HandlerErrors of its own: `invalid-answer` (not
 * retryable), `result-too-large`, `no-result` (the stream ended without one; retryable).
 */
export async function relayAnswer(
  { headers, body }: Dispatcher.ResponseData,
  context: TaskContext,
): Promise<unknown> {
  const mediaType = /^[^;\s]*/.exec(String(headers['content-type'] ?? ''))?.[0].toLowerCase() ?? ''
  const readLines = STREAMS[mediaType]
  if (!readLines) return plainResult(body, mediaType)
  // Left open at the last line: a service that is cut off while it says goodbye would log an error.
  const chunks = { [Symbol.asyncIterator]: () => body.iterator({ destroyOnReturn: false }) }
  for await (const line of readLines(chunks)) {
    const end = await relayLine(line, context)
    if (!end) continue
    void body
      .dump({ limit: Number.MAX_SAFE_INTEGER, signal: AbortSignal.timeout(FAREWELL_MS) })
      .catch(() => undefined)
    return end.result
  }
  throw new HandlerError('no-result', 'the answer ended without a result or an error', { retryable: true })
}

/** An empty answer is the result null. */
async function plainResult(body: AsyncIterable<Buffer>, mediaType: string): Promise<unknown> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of body) {
    chunks.push(chunk)
    bytes += chunk.length
    if (bytes > MAX_ANSWER_BYTES) {
      const message = `the answer has more than ${MAX_ANSWER_BYTES} bytes`
      throw new HandlerError('result-too-large', message, { retryable: false })
    }
  }
  const text = new TextDecoder().decode(Buffer.concat(chunks))
  if (text.trim() === '') return null
  try {
    return JSON.parse(text)
  } catch {
    throw invalidAnswer(`the answer (${mediaType || 'without a Content-Type'}) is not JSON: ${preview(text)}`)
  }
}

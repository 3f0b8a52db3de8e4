// Cuts a streamed answer into its messages: lines of NDJSON, or events of an event stream. A message is a JSON
// object with a `type`.

import { createParser } from 'eventsource-parser'
import { HandlerError } from '../../handler-error.ts'
import { MAX_RESULT_BYTES } from '../../task-result.ts'

/** One message of a streamed answer. */
export interface AnswerLine {
  /** For error messages: `line 3`, `event 3`. */
  readonly where: string
  readonly type: string
  readonly value: Readonly<Record<string, unknown>>
}

/** Of one message: a result of its full size, and what is around it. Counted in characters, so at most that many bytes. */
const MAX_LINE_CHARS = MAX_RESULT_BYTES + 64 * 1024

/** Throws `invalid-answer`, and `no-result` when the last line broke off. Blank lines count, and say nothing. */
export async function* ndjsonLines(chunks: AsyncIterable<Buffer>): AsyncGenerator<AnswerLine> {
  const decoder = new TextDecoder()
  let rest = ''
  let count = 0
  for await (const chunk of chunks) {
    const text = decoder.decode(chunk, { stream: true })
    // Only a line that has come to its end is looked through, so that one of many small chunks costs no more.
    const lines = text.includes('\n') ? (rest + text).split('\n') : [rest + text]
    rest = lines.pop() ?? ''
    for (const line of lines) {
      const where = `line ${++count}`
      if (line.trim() !== '') yield parseLine(line, where)
    }
    if (rest.length > MAX_LINE_CHARS) throw tooLong(`line ${count + 1}`)
  }
  if (rest.trim() !== '') yield parseLastLine(rest, `line ${count + 1}`)
}

/** Like `ndjsonLines`. The name of an event is its type, where its data don't say one. */
export async function* eventStreamLines(chunks: AsyncIterable<Buffer>): AsyncGenerator<AnswerLine> {
  const decoder = new TextDecoder()
  const lines: AnswerLine[] = []
  let count = 0
  const parser = createParser({
    onEvent: ({ event, data }) => lines.push(parseLine(data, `event ${++count}`, event)),
    onError: error => {
      if (error.type === 'max-buffer-size-exceeded') throw tooLong(`event ${count + 1}`)
    },
    maxBufferSize: MAX_LINE_CHARS,
  })
  for await (const chunk of chunks) {
    let fault: unknown
    try {
      parser.feed(decoder.decode(chunk, { stream: true }))
    } catch (error) {
      fault = error
    }
    // What came before a wrong one counts.
    yield* lines.splice(0)
    if (fault) throw fault
  }
}

/** A text for an error's message: its beginning, on one line. */
export function preview(text: string): string {
  const start = text.slice(0, 200).replace(/\s+/g, ' ').trim()
  return text.length > 200 ? `${start}…` : start
}

/** The answer is not what was agreed; the service would say it again. */
export function invalidAnswer(message: string): HandlerError {
  return new HandlerError('invalid-answer', message, { retryable: false })
}

function parseLine(text: string, where: string, name?: string): AnswerLine {
  const value = parseJson(text)
  if (value === undefined) throw invalidAnswer(`${where} of the answer is not JSON: ${preview(text)}`)
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw invalidAnswer(`${where} of the answer is not a JSON object: ${preview(text)}`)
  const type = 'type' in value ? value.type : name
  if (typeof type !== 'string') throw invalidAnswer(`${where} of the answer has no "type": ${preview(text)}`)
  return { where, type, value: value as AnswerLine['value'] }
}

/** Where the end of the connection is the end of the answer, one that broke off shows only by this. */
function parseLastLine(text: string, where: string): AnswerLine {
  if (parseJson(text) !== undefined) return parseLine(text, where)
  throw new HandlerError('no-result', `the answer broke off in ${where}: ${preview(text)}`, {
    retryable: true,
  })
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function tooLong(where: string): HandlerError {
  return invalidAnswer(`${where} of the answer is longer than ${MAX_LINE_CHARS} characters`)
}

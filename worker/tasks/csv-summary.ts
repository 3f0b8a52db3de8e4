// Summarises a CSV (RFC 4180, UTF-8) while it streams by: rows, columns, and per column counts, distinct values and,
// where numeric, min, max and mean. Memory is bounded, whatever the size and the values.
//
// `distinct` is exact up to 10,000 values a column and 100,000 in all columns together (so 10,000 each with up to 10
// columns, 100 each with 1,000); a column with more has that limit as `distinct` and `distinctCapped: true`: "at least".
// Rows of another length than the header, broken quotes, rows over 1 MiB and over 1,000 columns fail as `invalid-csv`,
// with the row's number.

import { Transform, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { CsvError, type Parser, parse } from 'csv-parse'
import { z } from 'zod'
import { defineTask, type TaskContext, type TaskDefinition } from '../define-task.ts'
import { HandlerError } from '../handler-error.ts'
import type { TaskEnvironment } from '../load-tasks.ts'
import { type CsvSource, inlineCsv, remoteCsv } from './csv-summary/csv-source.ts'
import { TableSummary } from './csv-summary/table-summary.ts'

const MAX_ROW_BYTES = 1_048_576
const PROGRESS_INTERVAL_MS = 250

const inputSchema = z
  .strictObject({
    csv: z.string().optional(),
    url: z
      .url()
      .regex(/^https?:/)
      .optional(),
    delimiter: z
      .string()
      .regex(/^[^"\r\n]$/)
      .default(','),
  })
  .refine(input => (input.csv === undefined) !== (input.url === undefined), 'either csv or url is needed')
  // A refinement has no JSON Schema, by which gateways check.
  .meta({ oneOf: [{ required: ['csv'] }, { required: ['url'] }] })

type Input = z.infer<typeof inputSchema>

export function createTask({ httpTargets }: TaskEnvironment): TaskDefinition<Input> {
  return defineTask({
    type: 'csv-summary',
    input: inputSchema,
    attempts: 3,
    backoff: { type: 'exponential', delayMs: 1_000, jitter: 0.5 },
    async run({ csv, url, delimiter }, context) {
      const source =
        url === undefined ? inlineCsv(csv ?? '') : await remoteCsv(url, httpTargets, context.signal)
      const table = new TableSummary()
      await readRows(source, delimiter, table, context)
      await context.progress(100, `row ${table.rows}`)
      return table.result()
    },
  })
}

async function readRows(source: CsvSource, delimiter: string, table: TableSummary, context: TaskContext) {
  const parser = parse({
    bom: true,
    delimiter,
    record_delimiter: ['\r\n', '\n', '\r'],
    skip_empty_lines: true,
  })
  const guard = stopAtEndlessRow(parser)
  const report = reportProgress(source, table, context)
  try {
    await pipeline(source.stream, report, guard, parser, addTo(table), { signal: context.signal })
  } catch (error) {
    if (context.signal.aborted) throw context.signal.reason
    throw error instanceof CsvError ? describeCsvError(error, parser) : source.asFailure(error)
  }
}

/** A plain Writable: with rows of a few bytes, iterating takes twice the time and memory. */
function addTo(table: TableSummary): Writable {
  return new Writable({
    objectMode: true,
    write(row: string[], _encoding, done) {
      try {
        table.add(row)
        done()
      } catch (error) {
        done(error as Error)
      }
    },
  })
}

/** Slows the stream down to what the event log takes, since it waits for each report. */
function reportProgress(source: CsvSource, table: TableSummary, context: TaskContext): Transform {
  let bytes = 0
  let reportedAt = 0
  return new Transform({
    async transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length
      const now = performance.now()
      if (now - reportedAt < PROGRESS_INTERVAL_MS) return done(null, chunk)
      reportedAt = now
      const percent = source.totalBytes ? Math.min(99, Math.floor((bytes / source.totalBytes) * 100)) : null
      await context.progress(percent, `row ${table.rows}`).then(
        () => done(null, chunk),
        error => done(error),
      )
    },
  })
}

/**
 * The parser keeps a row until it ends, and its own limit doesn't count delimiters; so this watches that rows end.
 * It sees chunks, thus a row is refused at some chunks over the limit and not to the byte.
 */
function stopAtEndlessRow(parser: Parser): Transform {
  let ended = 0
  let bytesSince = 0
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const endedNow = parser.info.records + parser.info.empty_lines
      bytesSince = endedNow === ended ? bytesSince + chunk.length : 0
      ended = endedNow
      if (bytesSince <= MAX_ROW_BYTES) done(null, chunk)
      else done(invalidCsv(parser, `longer than ${MAX_ROW_BYTES} bytes, perhaps for want of a closing quote`))
    },
  })
}

function describeCsvError(error: CsvError, parser: Parser): HandlerError {
  switch (error.code) {
    case 'CSV_RECORD_INCONSISTENT_FIELDS_LENGTH':
      return invalidCsv(parser, `${(error.record as string[]).length} values, unlike the header`)
    case 'CSV_QUOTE_NOT_CLOSED':
      return invalidCsv(parser, 'a quote is never closed')
    case 'CSV_INVALID_CLOSING_QUOTE':
      return invalidCsv(parser, 'a closing quote is followed by something else than a delimiter')
    case 'INVALID_OPENING_QUOTE':
      return invalidCsv(parser, 'a quote stands inside a value that does not begin with one')
    default:
      return invalidCsv(parser, `the parser says ${error.code}`)
  }
}

/** Rows count from 1 after the header, lines from 1 at the file's start. */
function invalidCsv({ info }: Parser, what: string): HandlerError {
  const where = info.records === 0 ? 'header' : `row ${info.records}`
  return new HandlerError('invalid-csv', `${where} (line ${info.lines}): ${what}`, { retryable: false })
}

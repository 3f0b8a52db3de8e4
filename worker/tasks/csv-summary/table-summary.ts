// The summary of a whole CSV, row by row: the first row names the columns, each further one is counted.

import { HandlerError } from '../../handler-error.ts'
import { type ColumnResult, ColumnSummary } from './column-summary.ts'

export interface TableResult {
  /** Without the header and blank lines. */
  rows: number
  /** In the file's order; names may repeat. */
  columns: ColumnResult[]
}

const MAX_COLUMNS = 1_000

/** Different values that are told apart: in one column, and in all of them. Up to 250 bytes each, so 25 MB. */
const MAX_DISTINCT = 10_000
const MAX_DISTINCT_TOTAL = 100_000

export class TableSummary {
  #columns: ColumnSummary[] | null = null
  #rows = 0

  get rows(): number {
    return this.#rows
  }

  /** Rows have as many values as the first; the parser sees to that. */
  add(row: readonly string[]): void {
    if (this.#columns === null) {
      this.#columns = startColumns(row)
      return
    }
    this.#rows++
    for (let i = 0; i < this.#columns.length; i++) this.#columns[i]?.add(row[i] ?? '')
  }

  result(): TableResult {
    return { rows: this.#rows, columns: (this.#columns ?? []).map(column => column.result()) }
  }
}

function startColumns(header: readonly string[]): ColumnSummary[] {
  if (header.length > MAX_COLUMNS) {
    throw new HandlerError(
      'invalid-csv',
      `header: ${header.length} columns, at most ${MAX_COLUMNS} are allowed`,
      {
        retryable: false,
      },
    )
  }
  const maxDistinct = Math.min(MAX_DISTINCT, Math.floor(MAX_DISTINCT_TOTAL / header.length))
  return header.map(name => new ColumnSummary(name, maxDistinct))
}

// What is kept of one CSV column while its values stream by. Bounded, whatever the values are.

import { hash } from 'node:crypto'

/** In the result of `csv-summary`, one a column. */
export interface ColumnResult {
  name: string
  /** Non-empty values. */
  count: number
  empties: number
  /** Different non-empty values; with `distinctCapped`, at least as many. */
  distinct: number
  distinctCapped?: true
  /** For a column whose non-empty values are all finite decimal numbers; no mean if their sum is not finite. */
  min?: number
  max?: number
  mean?: number
}

/** Longer values are remembered by their digest, so that one remembered value never costs more than this many characters. */
const LONGEST_KEPT_VALUE = 64

// Each alternative starts with another character and nothing is optional in a row, so a match takes linear time.
const DECIMAL_NUMBER = /^\s*[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?\s*$/i

export class ColumnSummary {
  readonly #name: string
  readonly #maxDistinct: number
  readonly #seen = new Set<string>()
  #capped = false
  #count = 0
  #empties = 0
  #numeric = true
  #min = Number.POSITIVE_INFINITY
  #max = Number.NEGATIVE_INFINITY
  #sum = 0

  /** @param maxDistinct different values that are told apart; past it the figure is a lower bound. */
  constructor(name: string, maxDistinct: number) {
    this.#name = name
    this.#maxDistinct = maxDistinct
  }

  add(value: string): void {
    if (value === '') {
      this.#empties++
      return
    }
    this.#count++
    if (!this.#capped) this.#remember(value)
    if (this.#numeric) this.#measure(value)
  }

  result(): ColumnResult {
    const result: ColumnResult = {
      name: this.#name,
      count: this.#count,
      empties: this.#empties,
      distinct: this.#capped ? this.#maxDistinct : this.#seen.size,
    }
    if (this.#capped) result.distinctCapped = true
    if (this.#numeric && this.#count > 0) {
      result.min = this.#min
      result.max = this.#max
      if (Number.isFinite(this.#sum)) result.mean = this.#sum / this.#count
    }
    return result
  }

  #remember(value: string): void {
    // A digest is longer than any value that is kept as it is, so the two never meet.
    const key = value.length <= LONGEST_KEPT_VALUE ? value : `sha256:${hash('sha256', value)}`
    if (this.#seen.size < this.#maxDistinct) {
      this.#seen.add(key)
    } else if (!this.#seen.has(key)) {
      this.#capped = true
      this.#seen.clear()
    }
  }

  #measure(value: string): void {
    const number = DECIMAL_NUMBER.test(value) ? Number(value) : Number.NaN
    this.#numeric = Number.isFinite(number)
    if (number < this.#min) this.#min = number
    if (number > this.#max) this.#max = number
    this.#sum += number
  }
}

// Whether a viewer got every event of a publisher exactly once and in order.

/** Holes that a viewer keeps in mind; past it an event that comes late counts as doubled. */
const MAX_HOLES = 10_000

/** What was noticed; `missing` counts holes that are still open. */
export interface Faults {
  missing: number
  doubled: number
  reordered: number
}

export class SequenceCheck {
  readonly #first: number
  readonly #faults: Faults
  /** The next number of each publisher. */
  readonly #next: number[] = []
  #holes: Set<string> | null = null

  /** `first` is the first number expected of each publisher. */
  constructor(first: number, faults: Faults) {
    this.#first = first
    this.#faults = faults
  }

  /** Answers whether the event is one that this viewer has not had before. */
  see(publisher: number, seq: number): boolean {
    const next = this.#next[publisher] ?? this.#first
    if (seq === next) {
      this.#next[publisher] = seq + 1
      return true
    }
    if (seq < next) return this.#late(publisher, seq)
    this.#skip(publisher, next, seq)
    return true
  }

  /** How many events are missing at the end, up to the last one published. */
  missingUpTo(publisher: number, last: number): number {
    return Math.max(0, last + 1 - (this.#next[publisher] ?? this.#first))
  }

  #skip(publisher: number, next: number, seq: number): void {
    this.#holes ??= new Set()
    for (let hole = next; hole < seq && this.#holes.size < MAX_HOLES; hole++) {
      this.#holes.add(`${publisher} ${hole}`)
    }
    this.#faults.missing += seq - next
    this.#next[publisher] = seq + 1
  }

  #late(publisher: number, seq: number): boolean {
    if (this.#holes?.delete(`${publisher} ${seq}`)) {
      this.#faults.missing--
      this.#faults.reordered++
      return true
    }
    this.#faults.doubled++
    return false
  }
}

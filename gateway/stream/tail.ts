// The recent events of one channel in memory: a contiguous run that ends where the log ended when last
// heard of. Only a cache of the log; forgetting it costs a read. Pure.

import { comparePositions, ORIGIN, type Position, relate } from '../../shared/event-id.ts'
import type { FramedEvent } from './sse-frame.ts'

/** Bounds of one channel's tail. Twice as much may be held until it is trimmed. */
const MAX_EVENTS = 1_024
const MAX_BYTES = 512 * 1024

/** What an event takes besides its bytes, roughly. */
const EVENT_OVERHEAD_BYTES = 256

/** What the tails of a gateway may hold together. Past it, those that have been quiet longest give up theirs. */
export class TailBudget {
  readonly #maxBytes: number
  #usedBytes = 0
  /** Those that hold anything, the one that was quiet longest first. */
  readonly #tails = new Set<Tail>()

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  get usedBytes(): number {
    return this.#usedBytes
  }

  /** A tail has taken so much more. */
  take(tail: Tail, bytes: number): void {
    this.#usedBytes += bytes
    this.#tails.delete(tail)
    this.#tails.add(tail)
    for (const quiet of this.#tails) {
      if (this.#usedBytes <= this.#maxBytes || quiet === tail) break
      quiet.clear()
    }
  }

  /** A tail has given up so much. */
  giveBack(tail: Tail, bytes: number, isEmpty: boolean): void {
    this.#usedBytes -= bytes
    if (isEmpty) this.#tails.delete(tail)
  }
}

export class Tail {
  readonly #budget: TailBudget
  #events: FramedEvent[] = []
  #bytes = 0
  /** Nothing stands in the log before the run. */
  #reachesStart = false

  constructor(budget: TailBudget) {
    this.#budget = budget
  }

  /** The newest event of the run. */
  get last(): FramedEvent | undefined {
    return this.#events.at(-1)
  }

  /** Just before the first event of the log, when the run reaches back that far. */
  get start(): Position | null {
    const first = this.#events[0]
    return first && this.#reachesStart ? { epoch: first.epoch, seq: first.seq - 1 } : null
  }

  /** Says which event is the log's oldest. A number does not tell: older ones of another epoch may be retained. */
  noteOldest(oldest: Position): void {
    const first = this.#events[0]
    if (first && comparePositions(first, oldest) === 0) this.#reachesStart = true
  }

  /** Adds the newest event; one that does not follow exactly starts the run anew. */
  push(event: FramedEvent): void {
    const { last } = this
    if (last && relate(last, event) !== 'successor') this.clear()
    this.#events.push(event)
    const bytes = bytesOf(event)
    this.#bytes += bytes
    this.#budget.take(this, bytes)
    if (this.#events.length > 2 * MAX_EVENTS || this.#bytes > 2 * MAX_BYTES) this.#trim()
  }

  clear(): void {
    this.#events = []
    this.#reachesStart = false
    this.#drop(this.#bytes)
  }

  /** The events after a position, which may be none; null when the run does not reach back that far. */
  after(position: Position): readonly FramedEvent[] | null {
    const first = this.#events[0]
    if (!first) return null
    if (comparePositions(position, ORIGIN) === 0)
      return first.seq === 1 && this.#reachesStart ? this.#events : null
    if (first.epoch !== position.epoch) return null
    const index = position.seq - first.seq + 1
    return index < 0 || index > this.#events.length ? null : this.#events.slice(index)
  }

  /** Down to the bounds at once, so that the cost of moving what stays is shared by many pushes. */
  #trim(): void {
    let drop = Math.max(0, this.#events.length - MAX_EVENTS)
    let dropped = 0
    for (let i = 0; i < this.#events.length - 1; i++) {
      if (i >= drop && this.#bytes - dropped <= MAX_BYTES) break
      dropped += bytesOf(this.#events[i]!)
      drop = Math.max(drop, i + 1)
    }
    this.#events = this.#events.slice(drop)
    if (drop > 0) this.#reachesStart = false
    this.#drop(dropped)
  }

  #drop(bytes: number): void {
    this.#bytes -= bytes
    this.#budget.giveBack(this, bytes, this.#events.length === 0)
  }
}

function bytesOf({ frame, data, format }: FramedEvent): number {
  // The data of JSON are a part of the frame.
  return EVENT_OVERHEAD_BYTES + frame.length + (format === 'text' ? data.length : 0)
}

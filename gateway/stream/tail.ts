// The recent events of one channel in memory, in blocks of consecutive numbers. Only a cache of the log;
// forgetting it costs a read. Pure.

import { comparePositions, ORIGIN, type Position } from '../../shared/event-id.ts'
import type { PageLimits } from '../../shared/event-log.ts'
import type { FramedEvent } from './sse-frame.ts'

/** Numbers that a block spans: 1 to 128, 129 to 256, … */
const BLOCK = 128

/** Of a busy channel, as many blocks as these are kept behind its end, … */
const LIVE_BLOCKS = 8

/** … and of all events those that came last, up to this. No event is as large. */
const MAX_BYTES = 2 * 1024 * 1024

/** Blocks from which events are answered at once; whoever wants more asks again. */
const BLOCKS_AT_ONCE = 8

/** What an event takes besides its bytes, roughly. */
const EVENT_OVERHEAD_BYTES = 256

/** The bounds of a page of the log that fills a block. */
export const BLOCK_PAGE: PageLimits = { maxEvents: BLOCK, maxBytes: 256 * 1024 }

/**
 * Where the block begins that the event after a position belongs to: whoever reads from there reads the same
 * page as all others that stand in the block.
 */
export function startOfBlock({ epoch, seq }: Position): Position {
  return { epoch, seq: seq - (seq % BLOCK) }
}

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

/** Consecutive events of one stretch of numbers; never empty. */
interface Block {
  events: FramedEvent[]
  bytes: number
}

export class Tail {
  readonly #budget: TailBudget
  /** Of all events here. */
  #epoch = 0
  /** By their number, in the order in which they came. */
  readonly #blocks = new Map<number, Block>()
  #bytes = 0
  #newest = 0
  /** The number of the log's oldest event, where that is known. */
  #oldest: number | null = null

  constructor(budget: TailBudget) {
    this.#budget = budget
  }

  /** The newest event. */
  get last(): FramedEvent | undefined {
    return this.#blockWith(this.#newest)?.events.at(-1)
  }

  /** Just before the first event of the log, when all from it to the newest are here: the log may trim them. */
  get start(): Position | null {
    const oldest = this.#oldest
    if (oldest === null) return null
    for (let next = oldest; ; ) {
      const last = this.#blockWith(next)?.events.at(-1)
      if (!last) return null
      if (last.seq === this.#newest) return { epoch: this.#epoch, seq: oldest - 1 }
      next = last.seq + 1
    }
  }

  /** Says which event is the log's oldest. A number does not tell: older ones of another epoch may be retained. */
  noteOldest({ epoch, seq }: Position): void {
    if (epoch === this.#epoch) this.#oldest = seq
  }

  /** Adds the event that has just been appended. */
  push(event: FramedEvent): void {
    if (!this.#enter(event.epoch)) return
    const index = blockOf(event.seq)
    const block = this.#blocks.get(index)
    if (block && block.events.at(-1)!.seq + 1 === event.seq) {
      block.events.push(event)
      this.#grow(block, [event])
    } else {
      // What comes before a hole is given up for what comes after it.
      this.#drop(index)
      this.#put(index, [event])
      this.#drop(index - LIVE_BLOCKS)
    }
  }

  /** Adds a page of the log. */
  add(page: readonly FramedEvent[]): void {
    for (let i = 0; i < page.length; ) {
      const index = blockOf(page[i]!.seq)
      let end = i + 1
      while (end < page.length && blockOf(page[end]!.seq) === index && isNext(page[end - 1]!, page[end]!))
        end++
      if (this.#enter(page[i]!.epoch)) this.#merge(index, page.slice(i, end))
      i = end
    }
  }

  clear(): void {
    this.#blocks.clear()
    this.#oldest = null
    this.#newest = 0
    const bytes = this.#bytes
    this.#bytes = 0
    this.#budget.giveBack(this, bytes, true)
  }

  /** Whether a position stands in the log, as far as memory knows. */
  knows({ epoch, seq }: Position): boolean {
    return (
      epoch === this.#epoch && (this.#blockWith(seq) !== undefined || this.#blockWith(seq + 1) !== undefined)
    )
  }

  /** Events after a position, in order; none when memory does not hold the next one. */
  after(position: Position): readonly FramedEvent[] {
    if (comparePositions(position, ORIGIN) === 0) return this.#oldest === 1 ? this.#from(1) : []
    return position.epoch === this.#epoch ? this.#from(position.seq + 1) : []
  }

  #from(seq: number): readonly FramedEvent[] {
    const rest = this.#restOfBlock(seq)
    if (!rest) return []
    const blocks: FramedEvent[][] = []
    for (let last = rest; blocks.length < BLOCKS_AT_ONCE; last = blocks.at(-1)!) {
      const block = this.#restOfBlock(last.at(-1)!.seq + 1)
      if (!block) break
      blocks.push(block)
    }
    return blocks.length === 0 ? rest : rest.concat(...blocks)
  }

  #restOfBlock(seq: number): FramedEvent[] | undefined {
    const events = this.#blockWith(seq)?.events
    return events?.slice(seq - events[0]!.seq)
  }

  /** The block that holds a number, if one does. */
  #blockWith(seq: number): Block | undefined {
    const block = this.#blocks.get(blockOf(seq))
    return block && seq >= block.events[0]!.seq && seq <= block.events.at(-1)!.seq ? block : undefined
  }

  /** Of two epochs, the newer one is kept. Answers whether events of this one are wanted. */
  #enter(epoch: number): boolean {
    if (epoch > this.#epoch) {
      this.clear()
      this.#epoch = epoch
    }
    return epoch === this.#epoch
  }

  #put(index: number, events: FramedEvent[]): void {
    const block = { events, bytes: 0 }
    this.#blocks.set(index, block)
    this.#grow(block, events)
  }

  /** Adds what a run holds before and after what is here already, where it joins. */
  #merge(index: number, run: FramedEvent[]): void {
    const block = this.#blocks.get(index)
    if (!block) {
      this.#put(index, run)
      return
    }
    const [first, last] = [block.events[0]!.seq, block.events.at(-1)!.seq]
    const [from, to] = [run[0]!.seq, run.at(-1)!.seq]
    if (to + 1 < first || from > last + 1) return
    const before = run.slice(0, Math.max(0, first - from))
    const after = run.slice(Math.max(0, last + 1 - from))
    block.events = [...before, ...block.events, ...after]
    this.#grow(block, [...before, ...after])
  }

  /** Reckons with events that a block has got. */
  #grow(block: Block, added: readonly FramedEvent[]): void {
    let bytes = 0
    for (const event of added) bytes += bytesOf(event)
    this.#newest = Math.max(this.#newest, block.events.at(-1)!.seq)
    block.bytes += bytes
    this.#bytes += bytes
    this.#budget.take(this, bytes)
    if (this.#bytes > MAX_BYTES) this.#trim()
  }

  /** From the front of the block that came first, so that little more goes than has to. */
  #trim(): void {
    for (const [index, block] of this.#blocks) {
      let [events, bytes] = [0, 0]
      while (events < block.events.length && this.#bytes - bytes > MAX_BYTES)
        bytes += bytesOf(block.events[events++]!)
      if (events < block.events.length) {
        block.events = block.events.slice(events)
        this.#forget(block, bytes)
        return
      }
      this.#drop(index)
    }
  }

  #drop(index: number): void {
    const block = this.#blocks.get(index)
    if (!block) return
    this.#blocks.delete(index)
    this.#forget(block, block.bytes)
  }

  #forget(block: Block, bytes: number): void {
    block.bytes -= bytes
    this.#bytes -= bytes
    this.#budget.giveBack(this, bytes, this.#blocks.size === 0)
  }
}

function blockOf(seq: number): number {
  return Math.floor((seq - 1) / BLOCK)
}

function isNext(event: Position, next: Position): boolean {
  return next.epoch === event.epoch && next.seq === event.seq + 1
}

function bytesOf({ heldBytes }: FramedEvent): number {
  return EVENT_OVERHEAD_BYTES + heldBytes
}

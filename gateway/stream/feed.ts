// One channel on this gateway: what is known of its log's end, its recent events in memory, who follows it.
// However many viewers ask for the same page of the log, it is read once.

import { type ChannelEvent, taskOfChannel } from '../../shared/event.ts'
import { comparePositions, formatPosition, ORIGIN, type Position, relate } from '../../shared/event-id.ts'
import type { EventLog, LogPage, PageLimits } from '../../shared/event-log.ts'
import { type Chunk, chunkOf, FramedEvent } from './sse-frame.ts'
import { BLOCK_PAGE, startOfBlock, Tail, type TailBudget } from './tail.ts'

/** A page whose events have their frames. */
export interface FramedPage extends LogPage {
  readonly events: FramedEvent[]
}

/** Whoever follows a channel on this gateway. */
export interface Follower {
  readonly feed: Feed
  /** Whether it is at the end of what is known of the log, so that it is told of what comes. */
  readonly live: boolean
  /** Something came. */
  advance(): void
  /** Something came that this gateway was not told of. */
  catchUp(reason: 'resubscribe'): unknown
}

/** Frames gathered for the viewers that stand at one position. */
interface Gathered {
  readonly chunk: Chunk
  readonly count: number
  readonly lastType: string
  /** Apart from the event, so that viewers that stand here don't hold on to its frame. */
  readonly end: Position
}

/** Bytes of frames that one gathered chunk takes at most, unless its first frame is larger. */
const MAX_GATHERED_BYTES = 256 * 1024

/** Distinct positions of which the gathered chunk is kept. */
const MAX_GATHERED = 8

/** … for viewers that come to stand there within this time. A quiet channel would hold on to the chunks for ever. */
const GATHERED_MS = 20

/** Runs a read of the log when it is its turn. */
export type ReadGate = <T>(read: () => Promise<T>) => Promise<T>

interface FeedDependencies {
  readonly attached: Promise<void>
  readonly log: EventLog
  readonly gate: ReadGate
  readonly budget: TailBudget
  /** The log was seen to reach further than pub/sub has brought it: live viewers are behind. */
  onBehind(feed: Feed): void
}

export class Feed {
  readonly channel: string
  /** Whether this is the channel of a task, which ends. */
  readonly isTask: boolean
  readonly followers = new Set<Follower>()
  /** Resolves when pub/sub brings this channel's events: what is appended after a later read arrives. */
  readonly attached: Promise<void>
  readonly tail: Tail
  /** The last position heard of or read; ORIGIN when there is no log; null before anything is known. */
  head: Position | null = null
  /** When the events were appended that came in since the last flush; ms since 1970. */
  readonly unflushed: number[] = []
  readonly #log: EventLog
  readonly #gate: ReadGate
  readonly #onBehind: (feed: Feed) => void
  readonly #reads = new Map<string, Promise<FramedPage>>()
  /** Of a few positions: compared as numbers, since a key in text would be made for each viewer. */
  readonly #gathered: { readonly after: Position; readonly frames: Gathered | null }[] = []
  #letGo: NodeJS.Timeout | null = null

  constructor(channel: string, { attached, log, gate, budget, onBehind }: FeedDependencies) {
    this.channel = channel
    this.isTask = taskOfChannel(channel) !== null
    this.attached = attached
    this.tail = new Tail(budget)
    this.#log = log
    this.#gate = gate
    this.#onBehind = onBehind
  }

  /** Takes over what pub/sub brought; answers how many events were new. */
  receive(events: readonly ChannelEvent[]): number {
    let news = 0
    for (const event of events) {
      if (this.head && relate(this.head, event) === 'duplicate') continue
      this.tail.push(new FramedEvent(event))
      this.head = { epoch: event.epoch, seq: event.seq }
      this.unflushed.push(event.time)
      news++
    }
    this.#gathered.length = 0
    return news
  }

  /** A viewer that is alone shares with nobody: what it was sent is not kept, and never becomes old garbage. */
  letGoOfWritten(): void {
    if (this.followers.size > 1) return
    for (const { live } of this.followers) if (live) this.tail.clear()
  }

  /** Whether a position is the end of the log, as far as this gateway has heard. */
  isHead(position: Position): boolean {
    return this.head !== null && comparePositions(this.head, position) === 0
  }

  /** The frames after a position in one chunk, from memory; null when they aren't there. */
  gatherAfter(position: Position): Gathered | null {
    // A single viewer shares with nobody.
    if (this.followers.size < 2) {
      const { last } = this.tail
      return last && relate(position, last) === 'successor' ? alone(last) : gather(this.tail.after(position))
    }
    for (const { after, frames } of this.#gathered) if (comparePositions(after, position) === 0) return frames
    const frames = gather(this.tail.after(position))
    // Viewers stand at few positions at once; whoever stands elsewhere has its chunk gathered anew.
    if (this.#gathered.length < MAX_GATHERED) this.#gathered.push({ after: position, frames })
    this.#letGo ??= setTimeout(() => {
      this.#letGo = null
      this.#gathered.length = 0
    }, GATHERED_MS)
    return frames
  }

  /**
   * The page of the log after a position. Afterwards `head` is at least the page's. It is read from where a block
   * begins, so that viewers at many positions share a few pages.
   */
  async read(after: Position | 'earliest'): Promise<FramedPage> {
    if (after === 'earliest') return this.#share(after, after, BLOCK_PAGE)
    const start = startOfBlock(after)
    const page = await this.#share(formatPosition(start), start, BLOCK_PAGE)
    const events = page.events.filter(event => comparePositions(event, after) > 0)
    const isAtEnd = page.head !== null && comparePositions(page.head, after) === 0
    // Large events fill a page before the block is whole; and whoever reads the block may have begun to before the
    // log came to this position.
    return events.length > 0 || isAtEnd
      ? { ...page, events }
      : this.#share(formatPosition(after), after, BLOCK_PAGE)
  }

  /** The last position of the log; null when there is none. */
  async readHead(): Promise<Position | null> {
    return (await this.#share('head', 'earliest', { maxEvents: 0, maxBytes: 0 })).head
  }

  /**
   * Takes over the log's head as it was seen at some moment after `known` was the head here: what pub/sub
   * brings meanwhile says nothing about that moment. Answers whether live viewers may lag.
   */
  async reconcile(known: Position | null, head: Position): Promise<boolean> {
    if (!known || !this.head) return false
    if (comparePositions(head, known) < 0) {
      await this.#restart(known)
      return true
    }
    if (comparePositions(head, this.head) <= 0) return false
    this.#raiseHead(head)
    return true
  }

  /** Gives up what memory holds of the log; it is read anew. */
  forget(): void {
    this.tail.clear()
    this.#gathered.length = 0
  }

  /** Whether an event is retained at a position. */
  async contains(position: Position): Promise<boolean> {
    // Before the first event of an epoch there is none, and no id for it either.
    if (position.seq === 0) return false
    const before = { epoch: position.epoch, seq: position.seq - 1 }
    const limits = { maxEvents: 1, maxBytes: 1 }
    const { events } = await this.#share(`at ${formatPosition(position)}`, before, limits)
    return events[0] !== undefined && comparePositions(events[0], position) === 0
  }

  #share(key: string, after: Position | 'earliest', limits: PageLimits): Promise<FramedPage> {
    const underWay = this.#reads.get(key)
    if (underWay) return underWay
    const reading = this.#gate(() => this.#readPage(after, limits)).finally(() => this.#reads.delete(key))
    this.#reads.set(key, reading)
    return reading
  }

  async #readPage(after: Position | 'earliest', limits: PageLimits): Promise<FramedPage> {
    // Known before the read was sent: an event that comes in during the read says nothing about the log.
    const known = this.head
    const page = await this.#log.readPage(this.channel, after, limits)
    const head = page.head ?? ORIGIN
    if (known && comparePositions(head, known) < 0) {
      await this.#restart(known)
      return this.#readPage(after, limits)
    }
    if (!this.head || comparePositions(this.head, head) < 0) {
      this.#raiseHead(head)
      // What pub/sub still brings of it is no news any more.
      this.#onBehind(this)
    }
    const events = page.events.map(event => new FramedEvent(event))
    // A page from before a reset that pub/sub has told of meanwhile is no memory of this log.
    if (this.head?.epoch === head.epoch) this.#remember(events)
    if (after === 'earliest' && events[0]) this.tail.noteOldest(events[0])
    return { ...page, events }
  }

  /** Of an older epoch, memory may hold what is not in the log any more. */
  #raiseHead(head: Position): void {
    if (this.head && this.head.epoch !== head.epoch) this.tail.clear()
    this.head = head
  }

  /** The log went back behind a position: it goes on in a new epoch, and whoever follows it is told. */
  async #restart(known: Position): Promise<void> {
    await this.#log.assertReached(this.channel, known)
    this.head = null
    this.forget()
  }

  /** Keeps a page, so that the next viewer needs no read. */
  #remember(events: readonly FramedEvent[]): void {
    // A feed that was given up during the read would never give back what it takes of the budget.
    if (this.followers.size === 0) return
    this.tail.add(events)
  }
}

function alone({ chunk, type, epoch, seq }: FramedEvent): Gathered {
  return { chunk, count: 1, lastType: type, end: { epoch, seq } }
}

function gather(events: readonly FramedEvent[]): Gathered | null {
  if (events.length === 0) return null
  if (events.length === 1) return alone(events[0]!)
  const frames: Buffer[] = []
  let bytes = 0
  for (const { chunk } of events) {
    if (frames.length > 0 && bytes + chunk.bodyLength > MAX_GATHERED_BYTES) break
    frames.push(chunk.body)
    bytes += chunk.bodyLength
  }
  const { epoch, seq, type } = events[frames.length - 1]!
  return { chunk: chunkOf(frames), count: frames.length, lastType: type, end: { epoch, seq } }
}

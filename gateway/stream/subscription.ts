// One viewer's way through one channel: where it stands, and the one mechanism that brings it forward. Live
// while what arrives is the exact successor; in every other case (a new connection, a reconnect, a lost
// pub/sub message, Redis restarted, a slow reader) it catches up from the log and then is live again.

import { setTimeout as delay } from 'node:timers/promises'
import { comparePositions, formatPosition, ORIGIN, type Position, relate } from '../../shared/event-id.ts'
import { isTerminal } from '../../shared/task.ts'
import type { Connection } from './connection.ts'
import type { Feed, FramedPage } from './feed.ts'
import { belongsTo, type Gap, gapAtHead, gapBefore, startOf } from './gap.ts'
import type { FramedEvent } from './sse-frame.ts'

/** What the client asked for: go on after a cursor, or begin anew because it has none or an unreadable one. */
export type Start = { after: Position } | { after: 'none' | 'unknown' }

/** Where a stream begins that has no cursor; `last`: with so many events before the end. */
export type Origin = 'earliest' | 'latest' | { readonly last: number }

export type CatchUpReason = 'connect' | 'gap' | 'slow' | 'resubscribe'

/** What a subscription needs from its surroundings. */
export interface SubscriptionContext {
  /** The task of a channel as callers see it, or null: for the snapshot after a gap. */
  snapshot(channel: string): Promise<object | null>
  /** The terminal event of a channel's task, if that has ended. */
  endOf(channel: string): Promise<Position | null>
  onCatchUp(reason: CatchUpReason): void
  onSent(count: number, path: 'live' | 'catchup'): void
  onGap(gap: Gap): void
  onFault(error: unknown): void
}

/** After a failed read the next one follows within this time, at random so that viewers don't queue up. */
const RETRY_MS = 400

export class Subscription {
  readonly feed: Feed
  readonly connection: Connection
  position: Position = ORIGIN
  live = false
  /** Nothing more will come: the channel is that of a task that has ended, and its viewer knows. */
  ended = false
  readonly #context: SubscriptionContext
  /** The terminal event, where the task had ended before this viewer came. */
  #end: Position | null

  constructor(feed: Feed, connection: Connection, end: Position | null, context: SubscriptionContext) {
    this.feed = feed
    this.connection = connection
    this.#end = end
    this.#context = context
  }

  /**
   * Finds where to begin. Resolves with the hole that the viewer has to be told of, if there is one, once
   * Redis has said enough, or when the viewer has left. Until it is told of the hole its cursor stays before
   * it, since a connection that breaks first must not make it silent.
   */
  async begin({ after }: Start, origin: Origin): Promise<Gap | null> {
    let gap: Gap | null = null
    await this.#untilDone(async () => {
      await this.feed.attached
      if (typeof after === 'object') {
        this.position = after
        if (await this.#isKnown(after)) return
      }
      const start = await this.#startAt(origin)
      if (after === 'none') this.position = start
      else gap = { reason: after === 'unknown' ? 'unknown' : 'reset', missed: null, resumeAfter: start }
    })
    return gap
  }

  /**
   * Brings a live viewer to the end of the log from memory, in writes of bounded size; whoever does not keep up
   * or has a hole catches up.
   */
  advance(): void {
    while (!this.#idle && !this.feed.isHead(this.position)) {
      if (!this.connection.keepsUp) return void this.catchUp('slow')
      if (!this.#writeFromMemory('live')) return void this.catchUp('gap')
    }
  }

  /** Reads from the log until the viewer stands at its end and is live. Never rejects. */
  async catchUp(reason: CatchUpReason, gap: Gap | null = null): Promise<void> {
    this.live = false
    this.#context.onCatchUp(reason)
    let untold = gap
    const step = async (): Promise<boolean> => {
      await this.connection.writable()
      if (untold) await this.#tell(untold)
      untold = null
      // Decided and done in one tick, so that no event can come in between.
      if (this.#idle || this.#goLive()) return true
      if (!this.#writeFromMemory('catchup')) await this.#take(await this.feed.read(this.position))
      return false
    }
    await this.#untilDone(async () => {
      for (let done = false; !done; ) done = await this.connection.inTurn(step)
    })
  }

  async #isKnown(cursor: Position): Promise<boolean> {
    if (this.feed.isHead(cursor) || this.feed.tail.knows(cursor)) return true
    return belongsTo(cursor, (await this.feed.read(cursor)).head)
  }

  #startAt(origin: Origin): Promise<Position> {
    if (origin === 'earliest') return this.#earliest()
    return origin === 'latest' ? this.#latest() : this.#beforeEnd(origin.last)
  }

  /** As far back as asked, but neither behind the oldest retained event nor into an earlier epoch. */
  async #beforeEnd(count: number): Promise<Position> {
    const { epoch, seq } = await this.#latest()
    const start = { epoch, seq: Math.max(0, seq - count) }
    const oldest = await this.#earliest()
    return comparePositions(start, oldest) < 0 ? oldest : start
  }

  async #earliest(): Promise<Position> {
    return this.feed.tail.start ?? startOf(await this.feed.read('earliest'))
  }

  async #latest(): Promise<Position> {
    const position = this.feed.head ?? (await this.feed.readHead()) ?? ORIGIN
    // A task that has ended since it was looked at has its end here, and nothing will come after it.
    if (this.feed.isTask) this.#end ??= await this.#context.endOf(this.feed.channel)
    return position
  }

  #goLive(): boolean {
    if (!this.feed.isHead(this.position)) return false
    // This gateway has not heard of the end yet.
    if (this.#end && comparePositions(this.position, this.#end) < 0) return false
    this.live = true
    if (this.#end) this.#markEnded()
    return true
  }

  /** Writes the next events from memory; false when memory does not hold the exact successor. */
  #writeFromMemory(path: 'live' | 'catchup'): boolean {
    if (this.connection.takesSharedFrames) {
      const gathered = this.feed.gatherAfter(this.position)
      if (!gathered) return false
      this.connection.write(gathered.chunk)
      this.position = gathered.end
      this.#sent(gathered.count, path, gathered.lastType)
      return true
    }
    const events = this.feed.tail.after(this.position)
    if (events.length === 0) return false
    this.#write(events, path)
    return true
  }

  /** Writes the first of some events, as many as go in one write; answers how many are done with. */
  #write(events: readonly FramedEvent[], path: 'live' | 'catchup'): number {
    const { passed, written } = this.connection.writeEvents(this, events)
    this.#sent(written, path, events[passed - 1]!.type)
    return passed
  }

  #sent(count: number, path: 'live' | 'catchup', lastType: string): void {
    this.#context.onSent(count, path)
    if (this.feed.isTask && isTerminal(lastType)) this.#markEnded()
  }

  /** Delivers a page, telling of every hole before, in and after it. */
  async #take(page: FramedPage): Promise<void> {
    if (page.events.length === 0) {
      const gap = gapAtHead(this.position, page.head)
      if (gap) await this.#tell(await this.#widen(gap))
      else this.position = page.head ?? ORIGIN
      // Also where the log has expired before its end was seen.
      if (this.#end) this.#markEnded()
    }
    for (let i = 0; i < page.events.length; ) {
      const gap = gapBefore(this.position, page.events[i]!)
      if (gap) {
        const whole = await this.#widen(gap)
        await this.#tell(whole)
        // Delivery goes on elsewhere than in this page.
        if (whole !== gap) return
      }
      let end = i + 1
      while (end < page.events.length && relate(page.events[end - 1]!, page.events[end]!) === 'successor')
        end++
      i += this.#write(page.events.slice(i, end), 'catchup')
      await this.connection.writable()
      if (this.#idle) return
    }
  }

  /**
   * After a reset a viewer begins with the oldest retained event, unless what it saw last is in the log, so
   * that it has all that stands before the new epoch.
   */
  async #widen(gap: Gap): Promise<Gap> {
    if (gap.reason !== 'reset') return gap
    if (await this.feed.contains(this.position)) return gap
    // Memory may hold what has gone from the log: read from there, it would lead here again, for ever.
    this.feed.forget()
    const start = startOf(await this.feed.read('earliest'))
    return comparePositions(start, gap.resumeAfter) === 0 ? gap : { ...gap, resumeAfter: start }
  }

  /** Moves past a hole and says so; the viewer of a task is given the task as it is, to be right again. */
  async #tell(gap: Gap): Promise<void> {
    const { channel } = this.feed
    const { epoch, seq } = gap.resumeAfter
    const task = await this.#context.snapshot(channel)
    if (this.#idle) return
    this.position = gap.resumeAfter
    const resumedAt = epoch === ORIGIN.epoch ? null : formatPosition({ epoch, seq: seq + 1 })
    this.#context.onGap(gap)
    this.connection.writeControl('gap', this, { channel, reason: gap.reason, missed: gap.missed, resumedAt })
    if (task) this.connection.writeControl('snapshot', this, task)
    // With its log the task itself was lost, as a reconnect will be told.
    else if (this.feed.isTask && !this.connection.options.envelope) this.connection.end('gone')
  }

  #markEnded(): void {
    this.ended = true
    this.live = false
    this.connection.subscriptionEnded()
  }

  get #idle(): boolean {
    return this.ended || this.connection.closed
  }

  /** Repeats a step until it succeeds or nobody waits for it: reads fail while Redis is away. */
  async #untilDone(step: () => Promise<void>): Promise<void> {
    while (!this.#idle) {
      try {
        return await step()
      } catch (error) {
        this.#context.onFault(error)
        await delay(RETRY_MS * (0.5 + Math.random() / 2))
      }
    }
  }
}

// The channels that this gateway's viewers follow: brings in what pub/sub delivers, and flushes it to them.
// Knows no sockets.

import { setTimeout as delay } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import pLimit from 'p-limit'
import type { ChannelEvent, NewEvent } from '../../shared/event.ts'
import { ORIGIN, type Position, relate } from '../../shared/event-id.ts'
import type { EventLog } from '../../shared/event-log.ts'
import { topicKey } from '../../shared/keys.ts'
import type { Logger } from '../../shared/log.ts'
import { parsePublishedEvents } from '../../shared/published-events.ts'
import { withTimeout } from '../../shared/redis-connection.ts'
import type { GatewayMetrics } from '../metrics.ts'
import { Feed, type Follower, type ReadGate } from './feed.ts'
import { PacedFlush } from './paced-flush.ts'
import { PubSubProbe } from './pubsub-probe.ts'
import { RedisSubscriber } from './redis-subscriber.ts'
import { TailBudget } from './tail.ts'

/** Pages of logs that are read at once; with 256 KiB a page this bounds what waits in memory. */
const MAX_READS = 64

/** Recent events of all channels together, in bytes. */
const MAX_TAIL_BYTES = 64 * 1024 * 1024

/** Channels whose heads are asked for in one go. */
const HEADS_BATCH = 500

/** A single lost message on a channel that then is quiet is noticed within this time. */
const QUIET_CHECK_MS = 10_000

/** A comparison of heads that failed is repeated after this long. */
const CHECK_RETRY_MS = 200

/** The start waits for pub/sub no longer than this. */
const START_MS = 1_000

interface HubDependencies {
  /** For commands. */
  readonly redis: Redis
  readonly subscriber: Redis
  readonly log: EventLog
  readonly logger: Logger
  readonly metrics: GatewayMetrics
}

export class Hub {
  readonly #log: EventLog
  readonly #logger: Logger
  readonly #metrics: GatewayMetrics
  readonly #subscriber: RedisSubscriber
  readonly #probe: PubSubProbe
  #stopped = false
  #quietCheck: NodeJS.Timeout | undefined
  #checkWanted = false
  #checking = false
  readonly #feeds = new Map<string, Feed>()
  readonly #dirty = new Set<Feed>()
  /** Since the last flush. */
  #received = 0
  readonly #flush = new PacedFlush(() => this.#flushDirty())
  readonly #gate: ReadGate = pLimit(MAX_READS)
  readonly #budget = new TailBudget(MAX_TAIL_BYTES)

  /** The connections stay the caller's; `subscriber` is used for nothing else. */
  constructor({ redis, subscriber, log, logger, metrics }: HubDependencies) {
    this.#log = log
    this.#logger = logger
    this.#metrics = metrics
    this.#subscriber = new RedisSubscriber(subscriber, logger, {
      onMessage: (topic, message) => this.#receive(topic, message),
      onResubscribed: () => void this.#checkHeads(),
    })
    this.#probe = new PubSubProbe(redis, this.#subscriber, {
      onRoundTrip: ms => metrics.pubsubProbe.observe(ms / 1000),
      onMissed: () => {
        if (subscriber.status === 'ready')
          logger.warn('pub/sub does not reach this gateway: it connects anew')
        subscriber.disconnect(true)
      },
    })
  }

  /** Whether pub/sub is known to reach this gateway. */
  get hears(): boolean {
    return this.#probe.healthy
  }

  /** Resolves when live events reach this gateway, or soon in any case: it works without Redis too. */
  async start(): Promise<void> {
    this.#quietCheck = setInterval(() => void this.#checkHeads(), QUIET_CHECK_MS)
    await withTimeout(this.#probe.start(), START_MS).catch(() => undefined)
  }

  stop(): void {
    this.#stopped = true
    this.#probe.stop()
    clearInterval(this.#quietCheck)
  }

  get channels(): number {
    return this.#feeds.size
  }

  /** The feed of a channel, subscribed to at its first viewer. */
  feed(channel: string): Feed {
    const topic = topicKey(channel)
    let feed = this.#feeds.get(topic)
    if (!feed) {
      const attached = this.#subscriber.subscribe(topic)
      feed = new Feed(channel, {
        attached,
        log: this.#log,
        gate: this.#gate,
        budget: this.#budget,
        onBehind: this.#flushSoon,
      })
      this.#feeds.set(topic, feed)
    }
    return feed
  }

  attach(follower: Follower): void {
    follower.feed.followers.add(follower)
  }

  /** With its last follower a channel is given up. */
  detach(follower: Follower): void {
    const { feed } = follower
    feed.followers.delete(follower)
    if (feed.followers.size > 0) return
    const topic = topicKey(feed.channel)
    if (this.#feeds.get(topic) !== feed) return
    this.#feeds.delete(topic)
    this.#dirty.delete(feed)
    feed.tail.clear()
    this.#subscriber.unsubscribe(topic)
  }

  /**
   * Says what this gateway has appended itself: its own viewers need not wait until pub/sub brings it back. Only where it
   * follows what they know, else pub/sub brings all in order; and only at rest, since under load pub/sub brings many at a
   * time, and to look at each event twice costs more than it gains.
   */
  appended(channel: string, events: readonly NewEvent[], { epoch, seq }: Position): void {
    const feed = this.#flush.isAtRest ? this.#feeds.get(topicKey(channel)) : null
    if (!feed?.head || relate(feed.head, { epoch, seq }) !== 'successor') return
    this.#take(
      feed,
      events.map((event, i) => ({ ...event, epoch, seq: seq + i, data: Buffer.from(event.data) })),
    )
  }

  /** Compares what is known of every channel with its log; the viewers of those that lag catch up. */
  async #compareHeads(): Promise<void> {
    const feeds = [...this.#feeds.values()]
    for (let i = 0; i < feeds.length; i += HEADS_BATCH) {
      const batch = feeds.slice(i, i + HEADS_BATCH)
      const known = batch.map(feed => feed.head)
      const heads = await this.#log.heads(batch.map(feed => feed.channel))
      for (const [k, feed] of batch.entries()) {
        if (await feed.reconcile(known[k] ?? null, heads[k] ?? ORIGIN)) catchUpAll(feed)
      }
    }
  }

  /**
   * Until it succeeds: what was lost meanwhile is found by nothing else. One at a time, however often it is
   * asked for during an outage; what is asked for during a comparison is done after it.
   */
  async #checkHeads(): Promise<void> {
    this.#checkWanted = true
    if (this.#checking) return
    this.#checking = true
    while (this.#checkWanted && !this.#stopped) {
      this.#checkWanted = false
      try {
        await this.#compareHeads()
      } catch (error) {
        this.#logger.debug({ err: error }, 'could not compare heads')
        this.#checkWanted = true
        await delay(CHECK_RETRY_MS)
      }
    }
    this.#checking = false
  }

  #receive(topic: string, message: Buffer): void {
    if (topic === this.#probe.topic) {
      this.#probe.received()
      return
    }
    const feed = this.#feeds.get(topic)
    if (!feed) return
    try {
      this.#take(feed, parsePublishedEvents(message))
    } catch (error) {
      this.#logger.error({ err: error, channel: feed.channel }, 'could not read a published message')
    }
  }

  #take(feed: Feed, events: readonly ChannelEvent[]): void {
    const news = feed.receive(events)
    if (news === 0) return
    this.#received += news
    this.#flushSoon(feed)
  }

  readonly #flushSoon = (feed: Feed): void => {
    this.#dirty.add(feed)
    this.#flush.request()
  }

  #flushDirty(): void {
    this.#metrics.eventsReceived.inc(this.#received)
    this.#received = 0
    for (const feed of this.#dirty) {
      for (const follower of feed.followers) if (follower.live) follower.advance()
      const now = Date.now()
      for (const time of feed.unflushed) this.#metrics.delivery.observe(Math.max(0, now - time) / 1000)
      feed.unflushed.length = 0
      feed.letGoOfWritten()
    }
    this.#dirty.clear()
  }
}

function catchUpAll(feed: Feed): void {
  for (const follower of feed.followers) if (follower.live) void follower.catchUp('resubscribe')
}

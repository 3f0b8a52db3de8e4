// The channels that this gateway's viewers follow: brings in what pub/sub delivers, and flushes it to them.
// Knows no sockets.

import type { Redis } from 'ioredis'
import pLimit from 'p-limit'
import { comparePositions, ORIGIN } from '../../shared/event-id.ts'
import type { EventLog } from '../../shared/event-log.ts'
import { topicKey } from '../../shared/keys.ts'
import type { Logger } from '../../shared/log.ts'
import { parsePublishedEvents } from '../../shared/published-events.ts'
import type { GatewayMetrics } from '../metrics.ts'
import { Feed, type ReadGate } from './feed.ts'
import { PacedFlush } from './paced-flush.ts'
import { RedisSubscriber } from './redis-subscriber.ts'
import type { Subscription } from './subscription.ts'
import type { TailBudget } from './tail.ts'

/** Pages of logs that are read at once; with 256 KiB a page this bounds what waits in memory. */
const MAX_READS = 64

/** Recent events of all channels together, in bytes. */
const MAX_TAIL_BYTES = 64 * 1024 * 1024

/** Channels whose heads are asked for in one go. */
const HEADS_BATCH = 500

export class Hub {
  readonly #log: EventLog
  readonly #logger: Logger
  readonly #metrics: GatewayMetrics
  readonly #subscriber: RedisSubscriber
  readonly #feeds = new Map<string, Feed>()
  readonly #dirty = new Set<Feed>()
  readonly #flush = new PacedFlush(() => this.#flushDirty())
  readonly #gate: ReadGate = pLimit(MAX_READS)
  readonly #budget: TailBudget = { maxBytes: MAX_TAIL_BYTES, usedBytes: 0 }

  /** `subscriberConnection` is used for nothing else and stays the caller's. */
  constructor(subscriberConnection: Redis, log: EventLog, logger: Logger, metrics: GatewayMetrics) {
    this.#log = log
    this.#logger = logger
    this.#metrics = metrics
    this.#subscriber = new RedisSubscriber(subscriberConnection, logger, {
      onMessage: (topic, message) => this.#receive(topic, message),
      onResubscribed: () => {
        this.checkHeads().catch(error =>
          logger.warn({ err: error }, 'could not compare the heads of the logs'),
        )
      },
    })
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
      feed = new Feed(channel, { attached, log: this.#log, gate: this.#gate, budget: this.#budget })
      this.#feeds.set(topic, feed)
    }
    return feed
  }

  attach(subscription: Subscription): void {
    subscription.feed.subscriptions.add(subscription)
  }

  /** With its last viewer a channel is given up. */
  detach(subscription: Subscription): void {
    const { feed } = subscription
    feed.subscriptions.delete(subscription)
    if (feed.subscriptions.size > 0) return
    const topic = topicKey(feed.channel)
    if (this.#feeds.get(topic) !== feed) return
    this.#feeds.delete(topic)
    this.#dirty.delete(feed)
    feed.tail.clear()
    this.#subscriber.unsubscribe(topic)
  }

  /** Compares what is known of every channel with its log; the viewers of those that lag catch up. */
  async checkHeads(): Promise<void> {
    const feeds = [...this.#feeds.values()]
    for (let i = 0; i < feeds.length; i += HEADS_BATCH) {
      const batch = feeds.slice(i, i + HEADS_BATCH)
      const known = batch.map(feed => feed.head)
      const heads = await this.#log.heads(batch.map(feed => feed.channel))
      for (const [k, feed] of batch.entries()) {
        const before = known[k]
        const now = heads[k] ?? ORIGIN
        if (!before || comparePositions(now, before) === 0) continue
        await feed.reconcile(now)
        catchUpAll(feed)
      }
    }
  }

  #receive(topic: string, message: Buffer): void {
    const feed = this.#feeds.get(topic)
    if (!feed) return
    try {
      const news = feed.receive(parsePublishedEvents(message))
      if (news.length === 0) return
      this.#metrics.eventsReceived.inc(news.length)
      for (const { time } of news) feed.unflushed.push(time)
    } catch (error) {
      this.#logger.error({ err: error, channel: feed.channel }, 'could not read a published message')
      return
    }
    this.#dirty.add(feed)
    this.#flush.request()
  }

  #flushDirty(): void {
    for (const feed of this.#dirty) {
      for (const subscription of feed.subscriptions) if (subscription.live) subscription.advance()
      feed.forgetGathered()
      const now = Date.now()
      for (const time of feed.unflushed) this.#metrics.delivery.observe(Math.max(0, now - time) / 1000)
      feed.unflushed = []
    }
    this.#dirty.clear()
  }
}

function catchUpAll(feed: Feed): void {
  for (const subscription of feed.subscriptions)
    if (subscription.live) void subscription.catchUp('resubscribe')
}

// Proves that pub/sub reaches this gateway: a message to a name of its own, over and over. A subscriber
// connection that died without a word is noticed by nothing else, since it never sends anything.

import { randomUUID } from 'node:crypto'
import type { Redis } from 'ioredis'
import { probeTopic } from '../../shared/keys.ts'
import type { RedisSubscriber } from './redis-subscriber.ts'

const INTERVAL_MS = 500

/** A probe that has not come back by then is missed. */
const MISSED_AFTER_MS = 2 * INTERVAL_MS

/** A subscriber that has not got ready by then is stuck in its handshake. */
const STUCK_AFTER_MS = 6 * INTERVAL_MS

interface ProbeEvents {
  /** A probe came back after this long. */
  onRoundTrip(ms: number): void
  /** A probe did not come back: what else was published may be lost too. */
  onMissed(): void
}

export class PubSubProbe {
  readonly topic = probeTopic(randomUUID())
  readonly #commands: Redis
  readonly #subscriber: RedisSubscriber
  readonly #events: ProbeEvents
  readonly #firstBack: Promise<void>
  #reportFirst = (): void => undefined
  /** What is waited for, since when: a probe's return on a connection, or (null) that one listens. */
  #waiting: { connection: number | null; since: number } | null = null
  #lastBackAt = Number.NEGATIVE_INFINITY
  #lastTickAt = 0
  #timer: NodeJS.Timeout | undefined

  constructor(commands: Redis, subscriber: RedisSubscriber, events: ProbeEvents) {
    this.#commands = commands
    this.#subscriber = subscriber
    this.#events = events
    this.#firstBack = new Promise(resolve => {
      this.#reportFirst = resolve
    })
  }

  /** Whether a probe came back of late. */
  get healthy(): boolean {
    return performance.now() - this.#lastBackAt < 2 * MISSED_AFTER_MS
  }

  /** Resolves when the first probe has come back. */
  async start(): Promise<void> {
    this.#timer = setInterval(() => this.#tick(), INTERVAL_MS)
    await this.#subscriber.subscribe(this.topic)
    this.#tick()
    await this.#firstBack
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  /** A message came on the probe's topic. */
  received(): void {
    if (!this.#waiting) return
    this.#lastBackAt = performance.now()
    this.#reportFirst()
    this.#events.onRoundTrip(this.#lastBackAt - this.#waiting.since)
    this.#waiting = null
  }

  #tick(): void {
    const now = performance.now()
    const late = now - this.#lastTickAt > 2 * INTERVAL_MS
    this.#lastTickAt = now
    const { listening } = this.#subscriber
    // A probe under way is lost with its connection; after a busy event loop it may only wait to be read.
    if (this.#waiting?.connection !== listening || late) {
      this.#waiting = { connection: listening, since: now }
      // Where it does not get out, it is missed like any other.
      if (listening !== null) this.#commands.publish(this.topic, '').catch(() => undefined)
    } else if (now - this.#waiting.since >= (listening === null ? STUCK_AFTER_MS : MISSED_AFTER_MS)) {
      this.#waiting = null
      this.#events.onMissed()
    }
  }
}

// The gateway's one subscriber connection: which pub/sub names it listens to, across reconnects. It promises
// nothing about messages: pub/sub may lose any of them, and the log is the truth.

import type { Redis } from 'ioredis'
import type { Logger } from '../../shared/log.ts'

/** Names that one SUBSCRIBE carries at most. */
const BATCH = 1_000

interface Wanted {
  readonly acknowledged: Promise<void>
  readonly acknowledge: () => void
}

export interface SubscriberEvents {
  onMessage(topic: string, message: Buffer): void
  /** After an outage every name is subscribed again; what was published meanwhile is unknown. */
  onResubscribed(): void
}

export class RedisSubscriber {
  readonly #redis: Redis
  readonly #log: Logger
  readonly #wanted = new Map<string, Wanted>()
  /** Names to subscribe and unsubscribe with the next batch; null while none is planned. */
  #batch: { add: Set<string>; remove: Set<string> } | null = null
  #connections = 0
  #listening: number | null = null

  /** `redis` must not resubscribe by itself. It stays the caller's. */
  constructor(redis: Redis, log: Logger, { onMessage, onResubscribed }: SubscriberEvents) {
    this.#redis = redis
    this.#log = log
    redis.on('messageBuffer', (topic: Buffer, message: Buffer) =>
      onMessage(topic.toString('latin1'), message),
    )
    redis.on('close', () => {
      this.#listening = null
    })
    redis.on('ready', () => {
      const connection = ++this.#connections
      this.#subscribeAll()
        .then(() => {
          this.#listening = connection
          if (connection > 1) onResubscribed()
        })
        // The connection broke again; the next `ready` repeats it.
        .catch(error => log.debug({ err: error }, 'could not subscribe again'))
    })
  }

  /** The number of the connection on which everything wanted is subscribed; null while there is none. */
  get listening(): number | null {
    return this.#listening
  }

  /** Resolves once Redis has acknowledged the subscription, however long Redis is away. */
  subscribe(topic: string): Promise<void> {
    const known = this.#wanted.get(topic)
    if (known) return known.acknowledged
    let acknowledge = (): void => undefined
    const acknowledged = new Promise<void>(resolve => {
      acknowledge = resolve
    })
    this.#wanted.set(topic, { acknowledged, acknowledge })
    const batch = this.#plan()
    // Redis still has it: unsubscribed and wanted again before the batch went out.
    if (batch.remove.delete(topic)) acknowledge()
    else batch.add.add(topic)
    return acknowledged
  }

  unsubscribe(topic: string): void {
    if (!this.#wanted.delete(topic)) return
    const batch = this.#plan()
    if (!batch.add.delete(topic)) batch.remove.add(topic)
  }

  #plan(): { add: Set<string>; remove: Set<string> } {
    if (!this.#batch) {
      this.#batch = { add: new Set(), remove: new Set() }
      setImmediate(() => this.#send())
    }
    return this.#batch
  }

  #send(): void {
    const batch = this.#batch
    this.#batch = null
    // While the connection is away nothing is sent: `ready` subscribes to all that is wanted then.
    if (!batch || this.#redis.status !== 'ready') return
    const failed = (error: unknown): void => this.#log.debug({ err: error }, 'subscriber connection broke')
    if (batch.remove.size > 0) this.#redis.unsubscribe(...batch.remove).catch(failed)
    this.#subscribeTo([...batch.add]).catch(failed)
  }

  async #subscribeAll(): Promise<void> {
    await this.#subscribeTo([...this.#wanted.keys()])
  }

  async #subscribeTo(topics: string[]): Promise<void> {
    const batches = []
    for (let i = 0; i < topics.length; i += BATCH) batches.push(topics.slice(i, i + BATCH))
    await Promise.all(
      batches.map(async batch => {
        await this.#redis.subscribe(...batch)
        for (const topic of batch) this.#wanted.get(topic)?.acknowledge()
      }),
    )
  }
}

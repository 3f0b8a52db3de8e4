// The gateway's one subscriber connection: which pub/sub names it listens to, across reconnects. It promises
// nothing about messages: pub/sub may lose any of them, and the log is the truth.

import type { Redis } from 'ioredis'
import type { Logger } from '../../shared/log.ts'

/** Names that one SUBSCRIBE or UNSUBSCRIBE carries at most. */
const BATCH = 1_000

interface Wanted {
  readonly acknowledged: Promise<void>
  readonly acknowledge: () => void
}

interface Batch {
  readonly add: Set<string>
  readonly remove: Map<string, Wanted>
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
  #batch: Batch | null = null
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
      // A new connection holds none of them.
      this.#batch?.remove.clear()
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
    const batch = this.#plan()
    // Wanted again before the batch went out: what was asked of Redis for it, answered or not, still stands.
    const kept = batch.remove.get(topic)
    const wanted = kept ?? newlyWanted()
    if (kept) batch.remove.delete(topic)
    else batch.add.add(topic)
    this.#wanted.set(topic, wanted)
    return wanted.acknowledged
  }

  unsubscribe(topic: string): void {
    const wanted = this.#wanted.get(topic)
    if (!wanted) return
    this.#wanted.delete(topic)
    const batch = this.#plan()
    if (!batch.add.delete(topic)) batch.remove.set(topic, wanted)
  }

  #plan(): Batch {
    if (!this.#batch) {
      this.#batch = { add: new Set(), remove: new Map() }
      setImmediate(() => this.#send())
    }
    return this.#batch
  }

  #send(): void {
    const batch = this.#batch
    this.#batch = null
    // While the connection is away nothing is sent: `ready` subscribes to all that is wanted then.
    if (!batch || this.#redis.status !== 'ready') return
    const failed = (error: unknown): void => {
      this.#log.debug({ err: error }, 'subscriber connection broke')
      // Refused on a connection that goes on (a busy Redis does): nothing else would ask again.
      if (this.#redis.status === 'ready') this.#redis.disconnect(true)
    }
    for (const topics of inBatches([...batch.remove.keys()])) this.#redis.unsubscribe(...topics).catch(failed)
    this.#subscribeTo([...batch.add]).catch(failed)
  }

  async #subscribeAll(): Promise<void> {
    await this.#subscribeTo([...this.#wanted.keys()])
  }

  async #subscribeTo(topics: string[]): Promise<void> {
    await Promise.all(
      inBatches(topics).map(async batch => {
        // Those of now: a name may be given up and wanted again before this is answered.
        const asked = batch.map(topic => this.#wanted.get(topic))
        await this.#redis.subscribe(...batch)
        for (const wanted of asked) wanted?.acknowledge()
      }),
    )
  }
}

function newlyWanted(): Wanted {
  let acknowledge = (): void => undefined
  const acknowledged = new Promise<void>(resolve => {
    acknowledge = resolve
  })
  return { acknowledged, acknowledge }
}

function inBatches(topics: string[]): string[][] {
  const batches = []
  for (let i = 0; i < topics.length; i += BATCH) batches.push(topics.slice(i, i + BATCH))
  return batches
}

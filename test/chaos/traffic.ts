// Everybody who uses the gateways during a run: publishers, clients, followers of tasks, and one slow reader.

import { setTimeout as delay } from 'node:timers/promises'
import { singleCursor } from '../../gateway/stream/cursor.ts'
import { clientKinds, wantedBy } from './client-mix.ts'
import type { Gateways } from './gateways.ts'
import { Numbers, Publisher } from './publisher.ts'
import type { Random } from './random.ts'
import { readSlowly } from './slow-reader.ts'
import { StreamClient, type Wanted } from './stream-client.ts'
import { TaskFollower } from './task-follower.ts'

export interface TrafficOptions {
  readonly clients: number
  readonly lengthMs: number
  readonly gateways: Gateways
  readonly random: Random
  /** Milliseconds from the start of the run. */
  readonly clock: () => number
  readonly onSurprise: (text: string) => void
}

const CHANNELS = 12
/** Each waits for its answer before it publishes again. */
const PUBLISHERS = 6
/** For events so large that a reader which stops is soon behind what the buffers on the way hold. */
const HEAVY_CHANNEL = 'chaos:heavy'
const HEAVY: Wanted = {
  cursor: singleCursor(HEAVY_CHANNEL),
  path: `/v1/channels/${HEAVY_CHANNEL}/events?from=earliest`,
  envelope: false,
  types: null,
  fromEarliest: true,
}
const TRIES = 50
const TRY_AGAIN_MS = 100

export class Traffic {
  readonly channels: readonly string[]
  readonly publishers: readonly Publisher[]
  readonly followers: readonly TaskFollower[]
  /** Of channels; those of tasks are the followers'. */
  readonly clients: readonly StreamClient[]
  readonly #options: TrafficOptions
  readonly #heavyPublisher: Publisher
  readonly #slowReader: StreamClient
  readonly #enough = new AbortController()
  #publishing: Promise<unknown> = Promise.resolve()
  #following: Promise<unknown> = Promise.resolve()
  #reading: Promise<unknown> = Promise.resolve()

  constructor(options: TrafficOptions) {
    this.#options = options
    const ordinary = Array.from({ length: CHANNELS }, (_, i) => `chaos:${i + 1}`)
    this.channels = [...ordinary, HEAVY_CHANNEL]
    const numbers = new Numbers()
    const publisher = () => new Publisher({ ...options, numbers, random: options.random.fork() })
    this.#heavyPublisher = publisher()
    this.publishers = [...Array.from({ length: PUBLISHERS }, publisher), this.#heavyPublisher]
    this.#slowReader = this.#client('slow reader', HEAVY)
    const kinds = clientKinds(Math.max(0, options.clients - 2))
    this.clients = [
      this.#slowReader,
      this.#client('reader of heavy events', HEAVY),
      ...kinds.flatMap((kind, i) => {
        if (kind === 'tasks') return []
        const wanted = wantedBy(kind, ordinary, options.random)
        return [this.#client(`client ${i + 1} of ${decodeURIComponent(wanted.path)}`, wanted)]
      }),
    ]
    this.followers = kinds.flatMap((kind, i) => {
      if (kind !== 'tasks') return []
      return [new TaskFollower({ ...options, name: `follower ${i + 1}`, random: options.random.fork() })]
    })
  }

  begin(): void {
    const { signal } = this.#enough
    const ordinary = this.channels.filter(channel => channel !== HEAVY_CHANNEL)
    this.#reading = Promise.all(this.clients.map(client => client.run()))
    this.#following = Promise.all(this.followers.map(follower => follower.run(signal)))
    this.#publishing = Promise.all([
      ...this.publishers
        .filter(publisher => publisher !== this.#heavyPublisher)
        .map(publisher => publisher.run(ordinary, signal)),
      readSlowly(this.#slowReader, this.#heavyPublisher, HEAVY_CHANNEL, { ...this.#options, stop: signal }),
    ])
    // Whoever fails is told of when it is waited for.
    for (const part of [this.#reading, this.#following, this.#publishing]) part.catch(() => undefined)
  }

  /** Nothing more is begun; resolves when every publish has its outcome. */
  async windDown(): Promise<void> {
    this.#enough.abort()
    await this.#publishing
  }

  /** Publishes an event to every channel, until each has been answered. */
  async publishToAll(type: string): Promise<void> {
    const publishers = this.publishers
    await Promise.all(
      this.channels.map((channel, i) => publishSurely(publishers[i % publishers.length]!, channel, type)),
    )
  }

  /** Resolves when every accepted task was followed to its end. */
  async followed(): Promise<void> {
    await this.#following
  }

  /** Everybody goes away. */
  async end(): Promise<void> {
    this.#enough.abort()
    for (const part of [...this.clients, ...this.followers]) part.stop()
    for (const publisher of this.publishers) publisher.close()
    await Promise.allSettled([this.#reading, this.#following, this.#publishing])
  }

  #client(name: string, wanted: Wanted): StreamClient {
    return new StreamClient({ ...this.#options, name, wanted, random: this.#options.random.fork() })
  }
}

async function publishSurely(publisher: Publisher, channel: string, type: string): Promise<void> {
  for (let i = 0; i < TRIES; i++) {
    const { outcome } = await publisher.publishJson(channel, 1, { type })
    if (outcome === 'answered') return
    await delay(TRY_AGAIN_MS)
  }
  throw new Error(`no publish to ${channel} was answered although the faults are over`)
}

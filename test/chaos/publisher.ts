// Publishes over HTTP to any gateway, and remembers what became of it. Each event carries a number that no
// other one has, so that a double is seen.

import { setTimeout as delay } from 'node:timers/promises'
import type { Gateways } from './gateways.ts'
import { NotSent, post, postAgent } from './post.ts'
import type { Random } from './random.ts'

/**
 * `answered`: 201. `refused`: 503, which may come after the append. `unanswered`: the connection broke or
 * nothing came in time. `unsent`: nobody listened.
 */
export type Outcome = 'answered' | 'refused' | 'unanswered' | 'unsent'

export interface Publish {
  readonly channel: string
  /** Number of its first event; the others follow it. */
  readonly firstNumber: number
  readonly count: number
  readonly gateway: string
  /** In ms from the start of the run, as `doneMs`. */
  readonly sentMs: number
  doneMs: number
  outcome: Outcome
  /** Of an answered one. */
  ids: readonly string[]
}

/** Gives each event its number. */
export class Numbers {
  #next = 1

  take(count: number): number {
    const first = this.#next
    this.#next += count
    return first
  }
}

export interface PublisherOptions {
  readonly gateways: Gateways
  readonly numbers: Numbers
  readonly random: Random
  /** Milliseconds from the start of the run. */
  readonly clock: () => number
  readonly onSurprise: (text: string) => void
}

export const EVENT_TYPES = ['tick', 'trade', 'note'] as const

const PAUSE_MS = [0, 80] as const
const MAX_BATCH = 8
const MAX_PADDING_CHARS = 400

export class Publisher {
  readonly publishes: Publish[] = []
  readonly #options: PublisherOptions
  readonly #agent = postAgent()

  constructor(options: PublisherOptions) {
    this.#options = options
  }

  /** Publishes to the channels, to the first ones often and to the last ones seldom, until told to stop. */
  async run(channels: readonly string[], stop: AbortSignal): Promise<void> {
    const { random } = this.#options
    while (!stop.aborted) {
      const channel = channels[Math.floor(random.int(0, 999) ** 2 * 1e-6 * channels.length)]!
      if (random.chance(20)) await this.publishText(channel)
      else await this.publishJson(channel, random.chance(30) ? random.int(2, MAX_BATCH) : 1)
      await delay(random.int(...PAUSE_MS))
    }
  }

  /** Events of one request, which stand in the log together or not at all. */
  publishJson(
    channel: string,
    count: number,
    { type, paddingChars }: { type?: string; paddingChars?: number } = {},
  ): Promise<Publish> {
    const { random, numbers } = this.#options
    const firstNumber = numbers.take(count)
    const events = Array.from({ length: count }, (_, i) => ({
      type: type ?? random.pick(EVENT_TYPES),
      data: { n: firstNumber + i, padding: 'x'.repeat(paddingChars ?? random.int(0, MAX_PADDING_CHARS)) },
    }))
    const body = JSON.stringify(count === 1 ? events[0] : events)
    return this.#send({ channel, firstNumber, count }, '', body, 'application/json')
  }

  /** An event of several lines. */
  publishText(channel: string): Promise<Publish> {
    const { random, numbers } = this.#options
    const firstNumber = numbers.take(1)
    const body = `${firstNumber}\n\n${'Zeile — '.repeat(random.int(0, 20))}\n`
    const query = `?type=${random.pick(EVENT_TYPES)}`
    return this.#send({ channel, firstNumber, count: 1 }, query, body, 'text/plain')
  }

  close(): void {
    this.#agent.destroy()
  }

  async #send(
    what: Pick<Publish, 'channel' | 'firstNumber' | 'count'>,
    query: string,
    body: string,
    contentType: string,
  ): Promise<Publish> {
    const { gateways, random, clock } = this.#options
    const gateway = await gateways.pick(random)
    const sentMs = clock()
    const url = `${gateway.url}/v1/channels/${what.channel}/events${query}`
    const { outcome, ids } = await this.#outcome(url, body, contentType)
    const publish = { ...what, gateway: gateway.name, sentMs, doneMs: clock(), outcome, ids }
    this.publishes.push(publish)
    return publish
  }

  async #outcome(
    url: string,
    body: string,
    contentType: string,
  ): Promise<{ outcome: Outcome; ids: readonly string[] }> {
    try {
      const reply = await post(url, body, contentType, this.#agent)
      if (reply.status === 201) return { outcome: 'answered', ids: JSON.parse(reply.body).ids }
      if (reply.status !== 503)
        this.#options.onSurprise(`a publish was answered ${reply.status}: ${reply.body}`)
      return { outcome: 'refused', ids: [] }
    } catch (error) {
      return { outcome: error instanceof NotSent ? 'unsent' : 'unanswered', ids: [] }
    }
  }
}

// Submits tasks one round after the other, one or a few at a time, and follows each to its end.

import { setTimeout as delay } from 'node:timers/promises'
import { singleCursor, vectorCursor } from '../../gateway/stream/cursor.ts'
import { taskChannel } from '../../shared/event.ts'
import type { Gateways } from './gateways.ts'
import { NotSent, post, postAgent } from './post.ts'
import type { Random } from './random.ts'
import { StreamClient, type Wanted } from './stream-client.ts'

/** `accepted`: 202. `unclear`: 503 or no answer; it may be in Redis or not. `unsent`: nobody listened. */
export type Submission = 'accepted' | 'unclear' | 'unsent'

export interface FollowerOptions {
  readonly name: string
  readonly gateways: Gateways
  readonly random: Random
  /** Milliseconds from the start of the run. */
  readonly clock: () => number
  readonly onSurprise: (text: string) => void
}

const STEPS = [3, 15] as const
const INTERVAL_MS = [20, 250] as const
const MAX_AT_ONCE = 3
const AFTER_REFUSAL_MS = 200

export class TaskFollower {
  /** What became of each submission, by the task's id. */
  readonly submissions = new Map<string, Submission>()
  /** One a round; the last one may still be following. */
  readonly clients: StreamClient[] = []
  readonly #options: FollowerOptions
  readonly #agent = postAgent()
  #stopped = false

  constructor(options: FollowerOptions) {
    this.#options = options
  }

  /** Resolves when the round is over in which `enough` came, with every accepted task at its end. */
  async run(enough: AbortSignal): Promise<void> {
    const { random, name } = this.#options
    while (!enough.aborted && !this.#stopped) {
      const ids = Array.from({ length: random.int(1, MAX_AT_ONCE) }, (_, i) => this.#nextId(i))
      const accepted: string[] = []
      for (const id of ids) if (await this.#submit(id)) accepted.push(id)
      if (accepted.length === 0) await delay(AFTER_REFUSAL_MS)
      if (accepted.length === 0 || this.#stopped) continue
      const options = { ...this.#options, name: `${name} of ${accepted.join(', ')}`, random: random.fork() }
      const client = new StreamClient({ ...options, wanted: wantedOf(accepted, random) })
      this.clients.push(client)
      await client.run()
    }
  }

  stop(): void {
    this.#stopped = true
    this.clients.at(-1)?.stop()
    this.#agent.destroy()
  }

  #nextId(index: number): string {
    return `${this.#options.name.replace(' ', '-')}-${this.submissions.size + index + 1}`
  }

  async #submit(id: string): Promise<boolean> {
    const { gateways, random } = this.#options
    const input = { steps: random.int(...STEPS), intervalMs: random.int(...INTERVAL_MS) }
    const { url } = await gateways.pick(random)
    const outcome = await this.#outcome(`${url}/v1/tasks`, JSON.stringify({ type: 'countdown', id, input }))
    this.submissions.set(id, outcome)
    return outcome === 'accepted'
  }

  async #outcome(url: string, body: string): Promise<Submission> {
    try {
      const reply = await post(url, body, 'application/json', this.#agent)
      if (reply.status === 202) return 'accepted'
      if (reply.status !== 503) {
        this.#options.onSurprise(`a submission was answered ${reply.status}: ${reply.body}`)
      }
      return 'unclear'
    } catch (error) {
      return error instanceof NotSent ? 'unsent' : 'unclear'
    }
  }
}

/** A single task by its own stream or, like several, by the one of several channels. */
function wantedOf(taskIds: readonly string[], random: Random): Wanted {
  const common = { types: null, fromEarliest: true }
  const [id] = taskIds
  if (taskIds.length === 1 && random.chance(70)) {
    return {
      ...common,
      cursor: singleCursor(taskChannel(id!)),
      path: `/v1/tasks/${id}/events`,
      envelope: false,
    }
  }
  const cursor = vectorCursor(taskIds.map(taskChannel))
  const query = cursor.channels.map(channel => `channel=${channel}`).join('&')
  return { ...common, cursor, path: `/v1/events?${query}`, envelope: true }
}

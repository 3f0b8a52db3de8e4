// The appends of this process: makes them for the scripts that carry them out, and takes the answers. Whoever appends to
// a channel again tells Redis how far the log had come: one that ends before that has gone back.

import type { NewEvent } from './event.ts'
import { formatPosition, type Position, requirePosition } from './event-id.ts'
import type { Once } from './event-log.ts'
import { topicKey } from './keys.ts'

/**
 * An append as append-to-log.lua and append-event.lua describe it; it is sent as JSON, since an argument of a command
 * costs more than what it says. Texts in it are well-formed: of others Lua can't read the JSON.
 */
export interface Append {
  readonly topic: string
  readonly maxEvents: number
  readonly expireMs: number | undefined
  readonly known: string | undefined
  readonly events: readonly (readonly [type: string, time: string, format: string])[]
  readonly once: readonly [fingerprint: string, keptMs: number] | undefined
  task: TaskCondition | undefined
}

export interface TaskCondition {
  readonly from: string
  readonly run: number | undefined
  readonly write: number | undefined
  readonly givesWay: boolean | undefined
  readonly startBy: number | undefined
  readonly set: readonly string[]
  readonly unset: readonly string[] | undefined
  readonly answersFields: boolean | undefined
}

/** How much a log keeps, and for how long; without `expireMs` that stays as it is. */
interface Kept {
  readonly maxEvents: number
  readonly expireMs?: number | undefined
}

/** Channels of which the last own append is remembered. */
const MAX_REACHED = 10_000

export class OwnAppends {
  readonly #reached = new Map<string, { epoch: number; seq: number }>()
  #events = 0

  /** Events that were appended. */
  get events(): number {
    return this.#events
  }

  make(channel: string, { maxEvents, expireMs }: Kept, events: readonly NewEvent[], once?: Once): Append {
    const known = this.#reached.get(channel)
    return {
      topic: topicKey(channel),
      maxEvents,
      expireMs: expireMs || undefined,
      known: known && formatPosition(known),
      events: events.map(({ type, time, format }) => [type, String(time), format]),
      once: once && [once.fingerprint, once.keptMs],
      task: undefined,
    }
  }

  /** Takes the id of the first event of an append of so many; answers its position. */
  reached(channel: string, firstId: string | undefined, count: number): Position {
    const first = requirePosition(firstId)
    this.#events += count
    const seq = first.seq + count - 1
    const reached = this.#reached.get(channel)
    if (reached) {
      // Not a new object, which would live until the next append and be moved by the garbage collector until then.
      reached.epoch = first.epoch
      reached.seq = seq
      return first
    }
    this.#reached.set(channel, { epoch: first.epoch, seq })
    for (const oldest of this.#reached.keys()) {
      if (this.#reached.size <= MAX_REACHED) break
      this.#reached.delete(oldest)
    }
    return first
  }

  /** The channel's last event was appended. */
  forget(channel: string): void {
    this.#reached.delete(channel)
  }
}

/** The events' data, which scripts are given beside an {@link Append}. */
export function dataOf(events: readonly NewEvent[]): string[] {
  return events.map(({ data }) => data)
}

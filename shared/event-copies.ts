// Copies of a task's events in further channels: each event once in each of them, and in order, whoever brings them
// and however often. A copy and the position in the task's log that it stands for are written in one step, which is
// refused where the copies have come to another position meanwhile. What is missing, since a process died between an
// append and its copies, comes with the next event's copies or by the reconciler.

import { type ChannelEvent, type NewEvent, taskChannel } from './event.ts'
import { formatPosition, type Position } from './event-id.ts'
import type { LogPage } from './event-log.ts'
import { isTerminal } from './task.ts'

/** A step of the copies of a task in a channel. */
export interface CopyStep {
  /** Which event of the task was copied last; null = none. */
  readonly after: Position | null
  readonly events: readonly NewEvent[]
  /** The last of these events. */
  readonly reached: Position
  /** How long that is remembered, in ms; 0 = for good. */
  readonly keptMs: number
}

/** Where the copies stand after a step was tried. */
export type CopyOutcome = { outcome: 'ok' } | { outcome: 'moved'; to: Position | null }

export interface CopyLog {
  readPage(channel: string, after: Position | 'earliest'): Promise<LogPage>
  /** How far the copies of a task have come in a channel. */
  copiedTo(channel: string, taskId: string): Promise<Position | null>
  copyTo(channel: string, taskId: string, step: CopyStep): Promise<CopyOutcome>
}

/** Steps of one call; what is left then is left to the next one. */
const MAX_STEPS = 100
/** After the end of a task its copies can be late by this much and still come once. */
const KEPT_MS = 24 * 60 * 60 * 1000

export class EventCopies {
  readonly #log: CopyLog

  constructor(log: CopyLog) {
    this.#log = log
  }

  /** Copies events that were appended to a task's log, `first` the first of them. Answers whether nothing is missing. */
  async append(
    taskId: string,
    channels: readonly string[],
    first: Position,
    events: readonly NewEvent[],
  ): Promise<boolean> {
    const step = stepOf(
      first.seq === 1 ? null : { ...first, seq: first.seq - 1 },
      { ...first, seq: first.seq + events.length - 1 },
      events,
    )
    return this.#each(channels, async channel => {
      const answer = await this.#log.copyTo(channel, taskId, step)
      return answer.outcome === 'ok' || this.#catchUp(taskId, channel, answer.to)
    })
  }

  /** Copies whatever of a task's log is missing; `lastEventId` is its last event. Answers whether nothing is missing. */
  async catchUp(taskId: string, channels: readonly string[], lastEventId: string): Promise<boolean> {
    return this.#each(channels, async channel => {
      const position = await this.#log.copiedTo(channel, taskId)
      const isDone = position !== null && formatPosition(position) === lastEventId
      return isDone || this.#catchUp(taskId, channel, position)
    })
  }

  async #catchUp(taskId: string, channel: string, from: Position | null): Promise<boolean> {
    let after = from
    for (let i = 0; i < MAX_STEPS; i++) {
      const { events } = await this.#log.readPage(taskChannel(taskId), after ?? 'earliest')
      const last = events.at(-1)
      if (!last) return true
      const reached = { epoch: last.epoch, seq: last.seq }
      const answer = await this.#log.copyTo(channel, taskId, stepOf(after, reached, events.map(asNew)))
      after = answer.outcome === 'ok' ? reached : answer.to
    }
    return false
  }

  /** Where Redis refuses the copies of one channel, the others get theirs. */
  async #each(channels: readonly string[], copy: (channel: string) => Promise<boolean>): Promise<boolean> {
    const copied = await Promise.all(channels.map(channel => copy(channel).catch(() => false)))
    return copied.every(Boolean)
  }
}

/** The channels as a task's state holds them. */
export function parseChannels(json: string | undefined): string[] {
  return json ? (JSON.parse(json) as string[]) : []
}

function stepOf(after: Position | null, reached: Position, events: readonly NewEvent[]): CopyStep {
  const hasEnded = isTerminal(events.at(-1)?.type ?? '')
  return { after, reached, events, keptMs: hasEnded ? KEPT_MS : 0 }
}

function asNew({ type, time, format, data }: ChannelEvent): NewEvent {
  return { type, time, format, data: data.toString() }
}

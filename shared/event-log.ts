// The event log as the rest of Millrace sees it. Every implementation has to pass test/contract/event-log.ts.

import type { ChannelEvent, NewEvent } from './event.ts'
import type { Position } from './event-id.ts'

/** A run of consecutive log entries and where the log ended at the moment of reading. */
export interface LogPage {
  /** In order, oldest first; empty when nothing stands after the position asked for. */
  readonly events: ChannelEvent[]
  /**
   * The last id of the log; null when the channel has no log (never written to, or expired). Of a new epoch
   * without events it has the number 0.
   */
  readonly head: Position | null
}

/** How far one page may reach. Reading stops at whichever comes first. */
export interface PageLimits {
  readonly maxEvents: number
  /** No further event is added once the data of the page's events reach this many bytes. */
  readonly maxBytes: number
}

export const DEFAULT_PAGE: PageLimits = { maxEvents: 500, maxBytes: 256 * 1024 }

/** Retention of the logs of channels that users publish to. */
export interface Retention {
  /** Older events are trimmed; somewhat more than this many may stay. */
  readonly maxEvents: number
  /** The log expires after this long without an append; 0 = never. */
  readonly ttlMs: number
}

/** Makes an append one that is done at most once, however often it is asked for. */
export interface Once {
  /** Within the channel. */
  readonly key: string
  /** Without blanks. What is asked for under the same key with another one is something else, and refused. */
  readonly fingerprint: string
  /** Remembered for this long after the append. */
  readonly keptMs: number
}

/** A task's state: a hash. */
export type TaskFields = Readonly<Record<string, string>>

/** What has to hold for a task's events to be appended, and what changes with them. */
export interface TaskWrite {
  /** States from which this is allowed; empty = the task must not exist yet. */
  readonly from: readonly string[]
  /** The run that must be the current one (fencing); absent = any. */
  readonly run?: number
  /** Number of this write within its run; a number that was used is answered without appending again. */
  readonly write?: number
  /** Nothing is written when somebody has asked for the task to be cancelled, so that no outcome overtakes it. */
  readonly unlessCancelled?: boolean
  /** Nothing is written when the task was to be started before this time, in ms since 1970. */
  readonly unlessExpired?: number
  /** Whether to answer the task's state as it is then. */
  readonly answersFields?: boolean
  /** Fields of the task's state to set; null deletes the field. */
  readonly set: Readonly<Record<string, string | number | null>>
  /** From now on the task and its log expire after this long; absent = they stay. */
  readonly expireMs?: number
}

/** The answer to an append that is done at most once; `reused`: its key stands for another one. */
export type OnceAppend = { outcome: 'ok' | 'repeated'; first: Position } | { outcome: 'reused' }

/**
 * The answer to an append to a task's log. Everything but `ok` and `repeated` changed nothing.
 */
export type TaskAppend =
  | {
      outcome: 'ok'
      first: Position
      cancelRequested: boolean
      /** The task's state, where it was asked for. */
      fields?: TaskFields
    }
  | { outcome: 'repeated'; lastEventId: string; cancelRequested: boolean }
  | { outcome: 'exists' }
  | { outcome: 'unknown' }
  /** The writer belongs to an older run. */
  | { outcome: 'fenced'; state: string }
  /** The task is in a state that the transition does not start from, or its time to start has passed. */
  | { outcome: 'refused'; state: string }
  /** The task is to be cancelled and the write gives way to that. */
  | { outcome: 'cancelling' }

/** Whether the events stand in the log. */
export function isWritten({ outcome }: TaskAppend): boolean {
  return outcome === 'ok' || outcome === 'repeated'
}

/**
 * Named, append-only logs with live delivery. Appends are atomic, in order, and published after they are in
 * the log. Within an epoch sequence numbers have no holes.
 */
export interface EventLog {
  /** Appends 1 or more events to a user's channel; answers the position of the first, the others follow it. */
  append(channel: string, events: readonly NewEvent[]): Promise<Position>
  /** Like `append`, unless this was done before: then answers as it was answered, and changes nothing. */
  appendOnce(channel: string, events: readonly NewEvent[], once: Once): Promise<OnceAppend>
  /** Appends to a task's log and changes its state, both or neither. */
  appendToTask(taskId: string, events: readonly NewEvent[], write: TaskWrite): Promise<TaskAppend>
  /**
   * Copies the events of a task to further channels, as far as they are not there: each once and in order.
   * `lastEventId` is the task's last event. Answers whether nothing is missing. What is appended to a task that
   * says where its events are copied to is copied by itself, but for its first event.
   */
  copyEvents(taskId: string, channels: readonly string[], lastEventId: string): Promise<boolean>
  /** The events after a position, or from the oldest retained one. */
  readPage(channel: string, after: Position | 'earliest', limits?: PageLimits): Promise<LogPage>
  /**
   * Tells the log of an event that was in it. If the log has gone back behind it (failover, restore), it goes
   * on in a new epoch. Only for ids of received events, since a client could forge one; of its own appends an
   * implementation knows.
   */
  assertReached(channel: string, known: Position): Promise<void>
  /** The heads of the channels' logs, as a page has them, in the order asked. */
  heads(channels: readonly string[]): Promise<(Position | null)[]>
}

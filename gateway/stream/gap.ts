// Holes: what a page of the log, read after a position, says about what lies between. Pure.

import { comparePositions, ORIGIN, type Position, relate } from '../../shared/event-id.ts'
import type { LogPage } from '../../shared/event-log.ts'

type GapReason = 'trimmed' | 'reset' | 'unknown'

export interface Gap {
  readonly reason: GapReason
  /** Events that are gone; null where that can't be known. */
  readonly missed: number | null
  /** Delivery goes on with the event after this position. */
  readonly resumeAfter: Position
}

/** The hole between a position and an event that follows in the log; null when there is none. */
export function gapBefore(position: Position, next: Position): Gap | null {
  if (relate(position, next) !== 'hole') return null
  const resumeAfter = { epoch: next.epoch, seq: next.seq - 1 }
  const sameLog = position.epoch === next.epoch || position.epoch === ORIGIN.epoch
  if (!sameLog) return { reason: 'reset', missed: null, resumeAfter }
  return { reason: 'trimmed', missed: resumeAfter.seq - position.seq, resumeAfter }
}

/** The hole after a position where the page read after it is empty; null when the position is the head. */
export function gapAtHead(position: Position, head: Position | null): Gap | null {
  if (head === null) {
    return position.epoch === ORIGIN.epoch ? null : { reason: 'reset', missed: null, resumeAfter: ORIGIN }
  }
  const order = comparePositions(position, head)
  if (order === 0) return null
  if (order > 0) return { reason: 'reset', missed: null, resumeAfter: head }
  return gapBefore(position, { epoch: head.epoch, seq: head.seq + 1 })
}

/**
 * Whether a cursor that a client brought belongs to this log: of its epoch and not ahead of it. ORIGIN
 * belongs to every log.
 */
export function belongsTo(cursor: Position, head: Position | null): boolean {
  if (cursor.epoch === ORIGIN.epoch && cursor.seq === ORIGIN.seq) return true
  return head !== null && cursor.epoch === head.epoch && cursor.seq <= head.seq
}

/** The position just before the first event of a page read from the oldest, or the head of an empty log. */
export function startOf(page: LogPage): Position {
  const [first] = page.events
  return first ? { epoch: first.epoch, seq: first.seq - 1 } : (page.head ?? ORIGIN)
}

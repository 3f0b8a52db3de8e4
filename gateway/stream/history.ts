// The retained history of channels as JSON pages, for callers that want no stream.

import { formatPosition, ORIGIN, type Position } from '../../shared/event-id.ts'
import type { EventLog } from '../../shared/event-log.ts'
import type { CursorCodec } from './cursor.ts'
import { belongsTo, type Gap, gapBefore, startOf } from './gap.ts'
import { historyEntry } from './sse-frame.ts'

export interface HistoryRequest {
  readonly cursor: CursorCodec
  /** The cursor as the client sent it; null without one. */
  readonly after: string | null
  readonly limit: number
  /** Only these types; null = all. A page may then hold fewer events than asked for and still have a `next`. */
  readonly types: ReadonlySet<string> | null
  /** Whether entries name their channel. */
  readonly envelope: boolean
}

export interface HistoryPage {
  readonly events: object[]
  /** The cursor of the next page; null at the end. */
  readonly next: string | null
  /** Present when something that the cursor asked for is gone. */
  readonly gaps?: {
    channel: string
    reason: Gap['reason']
    missed: number | null
    resumedAt: string | null
  }[]
}

/** Data of events in one page, in bytes. */
const MAX_PAGE_BYTES = 1024 * 1024

/** Reads a page: of several channels one after the other, each in its order. */
export async function readHistory(log: EventLog, request: HistoryRequest): Promise<HistoryPage> {
  const { cursor, after, limit, types, envelope } = request
  const asked = after === null ? null : cursor.parse(after)
  const positions: (Position | 'earliest')[] = cursor.channels.map((_, i) => asked?.[i] ?? 'earliest')
  const events: object[] = []
  const gaps: NonNullable<HistoryPage['gaps']> = []
  const reached: Position[] = []
  let more = false
  let room = limit
  for (const [i, channel] of cursor.channels.entries()) {
    const read = await readChannel(log, channel, positions[i]!, after !== null && !asked, room)
    room -= read.events.length
    more ||= read.more
    reached.push(read.position)
    if (read.gap) gaps.push({ channel, ...read.gap })
    for (const event of read.events) {
      if (types && !types.has(event.type)) continue
      events.push(envelope ? { channel, ...historyEntry(event) } : historyEntry(event))
    }
  }
  return { events, next: more ? cursor.format(reached) : null, ...(gaps.length > 0 && { gaps }) }
}

async function readChannel(
  log: EventLog,
  channel: string,
  after: Position | 'earliest',
  unreadable: boolean,
  room: number,
) {
  // Whether there is anything is seen when this channel's turn comes.
  if (room === 0)
    return { events: [], position: after === 'earliest' ? ORIGIN : after, more: true, gap: null }
  const limits = { maxEvents: room, maxBytes: MAX_PAGE_BYTES }
  let page = await log.readPage(channel, after, limits)
  let gap: Gap | null = null
  if (unreadable) gap = { reason: 'unknown', missed: null, resumeAfter: startOf(page) }
  else if (after !== 'earliest' && !belongsTo(after, page.head)) {
    page = await log.readPage(channel, 'earliest', limits)
    gap = { reason: 'reset', missed: null, resumeAfter: startOf(page) }
  } else if (after !== 'earliest' && page.events[0]) gap = gapBefore(after, page.events[0])
  const last = page.events.at(-1)
  const position = last ?? (after === 'earliest' ? startOf(page) : after)
  const more = page.head !== null && (page.head.epoch !== position.epoch || page.head.seq > position.seq)
  const resumedAt = gap && formatPosition({ epoch: gap.resumeAfter.epoch, seq: gap.resumeAfter.seq + 1 })
  return {
    events: page.events,
    position: { epoch: position.epoch, seq: position.seq },
    more,
    gap: gap && { reason: gap.reason, missed: gap.missed, resumedAt },
  }
}

// The retained history of channels as JSON pages, for callers that want no stream.

import { viewEvent } from '../../shared/event.ts'
import { comparePositions, formatPosition, ORIGIN, type Position } from '../../shared/event-id.ts'
import type { EventLog } from '../../shared/event-log.ts'
import type { CursorCodec } from './cursor.ts'
import { belongsTo, type Gap, gapBefore, startOf } from './gap.ts'

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

/** Data of the events in one page, of all channels together, in bytes; its last event may exceed it. */
const MAX_PAGE_BYTES = 1024 * 1024

/** What a page can still take. */
interface Room {
  events: number
  bytes: number
}

/** Reads a page: of several channels one after the other, each in its order. */
export async function readHistory(log: EventLog, request: HistoryRequest): Promise<HistoryPage> {
  const { cursor, after, limit, types, envelope } = request
  const asked = after === null ? null : cursor.parse(after)
  const events: object[] = []
  const gaps: NonNullable<HistoryPage['gaps']> = []
  const reached: Position[] = []
  let more = false
  const room: Room = { events: limit, bytes: MAX_PAGE_BYTES }
  for (const [i, channel] of cursor.channels.entries()) {
    const start = asked?.[i] ?? 'earliest'
    const read = await readChannel(log, channel, start, after !== null && !asked, room)
    room.events -= read.events.length
    for (const { data } of read.events) room.bytes -= data.length
    more ||= read.more
    reached.push(read.position)
    if (read.gap) gaps.push({ channel, ...describe(read.gap) })
    for (const event of read.events) {
      if (types && !types.has(event.type)) continue
      events.push(envelope ? { channel, ...viewEvent(event) } : viewEvent(event))
    }
  }
  return { events, next: more ? cursor.format(reached) : null, ...(gaps.length > 0 && { gaps }) }
}

async function readChannel(
  log: EventLog,
  channel: string,
  after: Position | 'earliest',
  unreadable: boolean,
  room: Room,
) {
  // Whether there is anything is seen when this channel's turn comes.
  if (room.events <= 0 || room.bytes <= 0)
    return { events: [], position: after === 'earliest' ? ORIGIN : after, more: true, gap: null }
  const limits = { maxEvents: room.events, maxBytes: room.bytes }
  let page = await log.readPage(channel, after, limits)
  let gap: Gap | null = null
  if (unreadable) gap = { reason: 'unknown', missed: null, resumeAfter: startOf(page) }
  else if (after !== 'earliest') {
    if (belongsTo(after, page.head) || (await isRetained(log, channel, after))) {
      gap = page.events[0] ? gapBefore(after, page.events[0]) : null
    } else {
      page = await log.readPage(channel, 'earliest', limits)
      gap = { reason: 'reset', missed: null, resumeAfter: startOf(page) }
    }
  }
  const last = page.events.at(-1)
  const { epoch, seq } = last ?? gap?.resumeAfter ?? (after === 'earliest' ? startOf(page) : after)
  const more = last !== undefined && page.head !== null && comparePositions(last, page.head) < 0
  return { events: page.events, position: { epoch, seq }, more, gap }
}

/** Whether the event at a position is still there: then a page goes on behind it, whatever its epoch. */
async function isRetained(log: EventLog, channel: string, { epoch, seq }: Position): Promise<boolean> {
  if (seq === 0) return false
  const { events } = await log.readPage(channel, { epoch, seq: seq - 1 }, { maxEvents: 1, maxBytes: 1 })
  return events[0]?.epoch === epoch && events[0].seq === seq
}

function describe({ reason, missed, resumeAfter: { epoch, seq } }: Gap) {
  return {
    reason,
    missed,
    resumedAt: epoch === ORIGIN.epoch ? null : formatPosition({ epoch, seq: seq + 1 }),
  }
}

// What a demo feed is, and how a tick brings it one step on. A feed's state stands in Redis beside its channel's log and
// moves with it, so that a tick that is run twice, or late by a worker that was given up, appends nothing.

import type { NewEvent } from '../../shared/event.ts'
import type { RedisEventLog } from '../../shared/redis-event-log.ts'

/** A pure step from what a feed told last to what it tells next. */
export interface Feed {
  readonly channel: string
  /** Its next value; `last` is null at its first tick. */
  next(last: number | null): number
  /** What it tells of a value; `now` in ms since 1970. */
  events(value: number, now: number): NewEvent[]
}

interface FeedState {
  /** Of the tick that was appended last, in ms since 1970. */
  readonly dueAt: number
  readonly value: number
}

/** Of several workers that append at once each round brings one on. */
const MAX_ROUNDS = 10

/** Does what a tick asks for, unless it or a later one has been done. The state is forgotten after `keptMs`. */
export async function advance(
  log: Pick<RedisEventLog, 'feedState' | 'appendFeedStep'>,
  feed: Feed,
  dueAt: number,
  keptMs: number,
): Promise<void> {
  let before: string | null = await log.feedState(feed.channel)
  for (let round = 0; round < MAX_ROUNDS && before !== null; round++) {
    const last = before === '' ? null : (JSON.parse(before) as FeedState)
    if (last !== null && last.dueAt >= dueAt) return
    const value = feed.next(last?.value ?? null)
    const after = JSON.stringify({ dueAt, value } satisfies FeedState)
    before = await log.appendFeedStep(feed.channel, feed.events(value, Date.now()), { before, after, keptMs })
  }
}

/** An event whose data are JSON. */
export function jsonEvent(type: string, time: number, data: object): NewEvent {
  return { type, time, format: 'json', data: JSON.stringify(data) }
}

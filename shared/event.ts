// An event of a channel, as it stands in the log and travels between processes.

import { formatPosition, type Position } from './event-id.ts'

/** How `data` is to be read: JSON text, or plain text whose line ends a stream turns into `data:` lines. */
export type DataFormat = 'json' | 'text'

/** An event to append; the log gives it its position. */
export interface NewEvent {
  /** See {@link EVENT_TYPE}. */
  readonly type: string
  /** Milliseconds since 1970. */
  readonly time: number
  readonly format: DataFormat
  /** JSON text without line ends, or plain text. */
  readonly data: string
}

/** An event of the log. */
export interface ChannelEvent extends Position {
  readonly type: string
  /** Milliseconds since 1970. */
  readonly time: number
  readonly format: DataFormat
  /** UTF-8. Kept as bytes, since most events are only forwarded. */
  readonly data: Buffer
}

/** Names that an event may have. */
export const EVENT_TYPE = /^[A-Za-z0-9_.-]{1,64}$/

/** Names that a channel may have. */
export const CHANNEL_NAME = /^[A-Za-z0-9][A-Za-z0-9:._-]{0,127}$/

/** The data of one event at most, in bytes of UTF-8. */
export const MAX_EVENT_BYTES = 64 * 1024

/** The data of an event as a JSON value. */
export function eventData(event: Pick<ChannelEvent, 'format' | 'data'>): unknown {
  const text = event.data.toString()
  return event.format === 'json' ? JSON.parse(text) : text
}

/** An event as the HTTP API shows it in pages, and callbacks carry it. */
export function viewEvent(event: ChannelEvent): { id: string; type: string; time: string; data: unknown } {
  return {
    id: formatPosition(event),
    type: event.type,
    time: new Date(event.time).toISOString(),
    data: eventData(event),
  }
}

/** The channel of a task. Names that begin with `task:` are the broker's own. */
export function taskChannel(taskId: string): string {
  return `task:${taskId}`
}

/** The id of the task that a channel belongs to; null for channels that users publish to. */
export function taskOfChannel(channel: string): string | null {
  return channel.startsWith('task:') ? channel.slice('task:'.length) : null
}

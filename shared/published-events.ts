// The pub/sub message: the events of one append, each as a header line
// `<epoch>-<seq> <time> <type> <format> <bytes>` and its data. append-event.lua writes it, this reads it.

import type { ChannelEvent, DataFormat } from './event.ts'
import { parsePosition } from './event-id.ts'

const NEWLINE = 0x0a

/**
 * Reads the events of one pub/sub message, in order. The data are views on `message`.
 * Throws on a message that no version of append-event.lua writes.
 */
export function parsePublishedEvents(message: Buffer): ChannelEvent[] {
  const events: ChannelEvent[] = []
  for (let offset = 0; offset < message.length; ) {
    const lineEnd = message.indexOf(NEWLINE, offset)
    const [id = '', time, type = '', format, bytes] = message.toString('latin1', offset, lineEnd).split(' ')
    const position = parsePosition(id)
    const dataStart = lineEnd + 1
    const dataEnd = dataStart + Number(bytes)
    if (lineEnd < 0 || !position || !(dataEnd <= message.length)) throw new Error('malformed pub/sub message')
    events.push({
      epoch: position.epoch,
      seq: position.seq,
      type,
      time: Number(time),
      format: format as DataFormat,
      data: message.subarray(dataStart, dataEnd),
    })
    offset = dataEnd
  }
  return events
}

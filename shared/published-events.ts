// The pub/sub message: the events of one append, each as a header line
// `<epoch>-<seq> <time> <type> <format> <bytes>` and its data. append-event.lua writes it, this reads it.

import type { ChannelEvent, DataFormat } from './event.ts'

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
    const dash = id.indexOf('-')
    const [epoch, seq] = [Number(id.slice(0, dash)), Number(id.slice(dash + 1))]
    const dataStart = lineEnd + 1
    const dataEnd = dataStart + Number(bytes)
    const isWhole = lineEnd > 0 && dash > 0 && epoch > 0 && seq > 0 && dataEnd <= message.length
    if (!isWhole) throw new Error('malformed pub/sub message')
    events.push({
      epoch,
      seq,
      type,
      time: Number(time),
      format: format as DataFormat,
      data: message.subarray(dataStart, dataEnd),
    })
    offset = dataEnd
  }
  return events
}

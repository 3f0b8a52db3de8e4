// From the bytes of an event stream to the numbers that its events carry. A thousand viewers of one channel
// read the same bytes, so what was parsed a moment ago is remembered and recognised by comparing memory: that
// keeps the load client cheaper than the server it measures, and is still exact.

import { createParser } from 'eventsource-parser'

/** What the load client itself put into an event: see `eventBody` of the publisher. */
export interface NumberedEvent {
  /** The publishing connection. */
  readonly publisher: number
  /** 1, 2, 3, … of that connection in one channel. */
  readonly seq: number
  /** When it was due, in microseconds since 1970. */
  readonly timeUs: number
}

/** The events of one piece of a stream. */
export interface ParsedEvents {
  readonly numbered: readonly NumberedEvent[]
  /** Events of the server's own that tell of a hole. */
  readonly gaps: number
  /** Events that carry no number. */
  readonly others: number
}

/** Pieces that are remembered. Viewers are at most a few writes apart. */
const REMEMBERED = 8

export class EventParser {
  readonly #recent: { bytes: Buffer; events: ParsedEvents }[] = []
  #lastHit = 0
  #oldest = 0

  /** Parses whole events: the bytes from `start` to `end` end with an empty line. */
  parse(source: Buffer, start: number, end: number): ParsedEvents {
    const length = end - start
    for (let i = 0; i < this.#recent.length; i++) {
      const at = (this.#lastHit + i) % this.#recent.length
      const { bytes, events } = this.#recent[at]!
      if (bytes.length === length && bytes.compare(source, start, end) === 0) {
        this.#lastHit = at
        return events
      }
    }
    return this.#remember(Buffer.from(source.subarray(start, end)))
  }

  #remember(bytes: Buffer): ParsedEvents {
    const events = parseEvents(bytes.toString())
    this.#recent[this.#oldest] = { bytes, events }
    this.#lastHit = this.#oldest
    this.#oldest = (this.#oldest + 1) % REMEMBERED
    return events
  }
}

function parseEvents(text: string): ParsedEvents {
  const parsed = { numbered: [] as NumberedEvent[], gaps: 0, others: 0 }
  createParser({
    onEvent: ({ event, data }) => {
      const numbered = numbersOf(data)
      if (numbered) parsed.numbered.push(numbered)
      else if (event === 'gap') parsed.gaps++
      else parsed.others++
    },
  }).feed(text)
  return parsed
}

/** A reference server that repeats the published body as it came has the numbers one level deeper. */
function numbersOf(text: string): NumberedEvent | null {
  try {
    const value = JSON.parse(text)
    const { p, seq, t } = value.data ?? value
    return typeof seq === 'number' ? { publisher: p, seq, timeUs: t } : null
  } catch {
    return null
  }
}

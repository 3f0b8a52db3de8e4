// Takes one viewer's HTTP response apart, as its bytes come in: the head, the chunks, whole events. Knows no
// socket.

import type { EventParser, ParsedEvents } from './event-parser.ts'

/** A head or a chunk that is larger than this is a fault of the server. */
const MAX_HELD_BYTES = 4 * 1024 * 1024

const LF = 0x0a
const NOTHING = Buffer.alloc(0)
const HEAD_END = Buffer.from('\r\n\r\n')

export interface ResponseEvents {
  onHead(status: number): void
  onEvents(events: ParsedEvents): void
}

export class ResponseReader {
  readonly #parser: EventParser
  readonly #out: ResponseEvents
  /** Read but not yet a whole head or chunk. */
  #held: Buffer[] = []
  #heldBytes = 0
  /** As long as fewer bytes are held it isn't worth looking. */
  #neededBytes = 0
  #inBody = false
  /** Body that does not end with an event yet. */
  #openEvent: Buffer | null = null

  constructor(parser: EventParser, out: ResponseEvents) {
    this.#parser = parser
    this.#out = out
  }

  /** Takes the first `length` bytes of `source`, which may be reused afterwards. Throws on what is no HTTP. */
  read(source: Buffer, length: number): void {
    let bytes = source
    let end = length
    if (this.#heldBytes > 0) {
      this.#hold(source, 0, length)
      if (this.#heldBytes < this.#neededBytes) return
      bytes = Buffer.concat(this.#held)
      end = bytes.length
      this.#held = []
      this.#heldBytes = 0
    }
    this.#neededBytes = 0
    const taken = this.#take(bytes, end)
    if (taken < end) this.#hold(bytes, taken, end)
  }

  /** Answers up to where the bytes made sense. */
  #take(bytes: Buffer, end: number): number {
    let at = this.#inBody ? 0 : this.#takeHead(bytes, end)
    while (this.#inBody && at < end) {
      const next = this.#takeChunk(bytes, at, end)
      if (next === at) break
      at = next
    }
    return at
  }

  #hold(bytes: Buffer, start: number, end: number): void {
    this.#held.push(Buffer.from(bytes.subarray(start, end)))
    this.#heldBytes += end - start
    if (this.#heldBytes > MAX_HELD_BYTES) throw new Error('a head or a chunk of the response has no end')
  }

  /** Answers where the body begins, 0 while the head is not complete. */
  #takeHead(bytes: Buffer, end: number): number {
    const headEnd = bytes.subarray(0, end).indexOf(HEAD_END)
    if (headEnd < 0) return 0
    const head = bytes.toString('latin1', 0, headEnd)
    const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1])
    if (status === 200 && !/\r\ntransfer-encoding: *chunked/i.test(head)) {
      throw new Error('the response is not chunked')
    }
    this.#inBody = true
    this.#out.onHead(status)
    return headEnd + HEAD_END.length
  }

  /** Answers where the next chunk begins, `at` itself while this one is not complete. */
  #takeChunk(bytes: Buffer, at: number, end: number): number {
    const lineEnd = bytes.indexOf(LF, at)
    if (lineEnd < 0 || lineEnd >= end) return at
    const size = hexNumber(bytes, at, lineEnd - 1)
    const bodyAt = lineEnd + 1
    const next = bodyAt + size + 2
    if (next > end) {
      this.#neededBytes = next - at
      return at
    }
    if (size > 0) this.#takeBody(bytes, bodyAt, bodyAt + size)
    return next
  }

  #takeBody(bytes: Buffer, start: number, end: number): void {
    if (!this.#openEvent && endsEvent(bytes, end)) {
      this.#out.onEvents(this.#parser.parse(bytes, start, end))
      return
    }
    const joined = Buffer.concat([this.#openEvent ?? NOTHING, bytes.subarray(start, end)])
    if (joined.length > MAX_HELD_BYTES) throw new Error('an event of the response has no end')
    const whole = endsEvent(joined, joined.length)
    this.#openEvent = whole ? null : joined
    if (whole) this.#out.onEvents(this.#parser.parse(joined, 0, joined.length))
  }
}

function endsEvent(bytes: Buffer, end: number): boolean {
  return bytes[end - 1] === LF && bytes[end - 2] === LF
}

function hexNumber(bytes: Buffer, start: number, end: number): number {
  const value = Number.parseInt(bytes.toString('latin1', start, end), 16)
  if (Number.isNaN(value)) throw new Error('the response has a chunk without a size')
  return value
}

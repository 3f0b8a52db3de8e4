// The bytes of the event stream (WHATWG HTML, "Server-sent events"), and of the HTTP/1.1 chunk around them
// (RFC 9112, section 7.1). Pure.

import type { ChannelEvent, DataFormat } from '../../shared/event.ts'
import { formatPosition } from '../../shared/event-id.ts'

const LINE_END = /\r\n|\r|\n/

/** First bytes of every stream. */
export function openingFrame(retryMs: number): Buffer {
  return Buffer.from(`retry: ${retryMs}\n: millrace\n\n`)
}

/** A comment keeps proxies and clients from taking a silent stream for a dead one. */
export const HEARTBEAT_FRAME: Buffer = Buffer.from(':\n\n')

/** How long a client waits before it reconnects. */
export function retryFrame(retryMs: number): Buffer {
  return Buffer.from(`retry: ${retryMs}\n\n`)
}

/**
 * Moves the client's cursor without dispatching an event: a block without data only sets the last event id
 * (WHATWG HTML, 9.2.6).
 */
export function cursorFrame(cursor: string): Buffer {
  return Buffer.from(`id: ${cursor}\n\n`)
}

/**
 * An event with its finished frame, which is built once on a gateway and written to every viewer. The parts of the frame
 * are views that are made when they are asked for, since most events are only written, and many are kept.
 */
export class FramedEvent implements ChannelEvent {
  readonly epoch: number
  readonly seq: number
  readonly type: string
  readonly time: number
  readonly format: DataFormat
  /** The frame alone, as a chunk of its own. */
  readonly chunk: Chunk
  /** Of text, whose lines in the frame stand apart; null for JSON. */
  readonly #text: Buffer | null
  readonly #dataStart: number

  /** The data of text are copied, since a view would hold on to all that was published or read together with it. */
  constructor({ epoch, seq, type, time, format, data }: ChannelEvent) {
    const head = `id: ${epoch}-${seq}\nevent: ${type}\ndata: `
    const lines = format === 'json' ? data : Buffer.from(data.toString().split(LINE_END).join('\ndata: '))
    const size = (head.length + lines.length + 2).toString(16)
    const dataStart = size.length + 2 + head.length
    const dataEnd = dataStart + lines.length
    const bytes = Buffer.allocUnsafe(dataEnd + 4)
    bytes.write(`${size}\r\n${head}`, 'latin1')
    bytes.set(lines, dataStart)
    bytes.write('\n\n\r\n', dataEnd, 'latin1')
    this.epoch = epoch
    this.seq = seq
    this.type = type
    this.time = time
    this.format = format
    this.chunk = new Chunk(bytes, size.length + 2)
    this.#text = format === 'json' ? null : Buffer.from(data)
    this.#dataStart = dataStart
  }

  /** Of the frame, of which the data of JSON are a part, and of text. */
  get heldBytes(): number {
    return this.chunk.bytes.length + (this.#text?.length ?? 0)
  }

  get data(): Buffer {
    const { bytes } = this.chunk
    return this.#text ?? bytes.subarray(this.#dataStart, bytes.length - 4)
  }
}

/** An event in its envelope, under the cursor of one connection. `named` says whether `event:` is sent. */
export function envelopeFrame(channel: string, event: ChannelEvent, cursor: string, named: boolean): Buffer {
  const data = event.format === 'json' ? event.data.toString() : JSON.stringify(event.data.toString())
  const envelope = `{"channel":${JSON.stringify(channel)},"id":"${formatPosition(event)}","type":"${event.type}","time":"${new Date(event.time).toISOString()}","data":${data}}`
  return Buffer.from(`id: ${cursor}\n${named ? `event: ${event.type}\n` : ''}data: ${envelope}\n\n`)
}

/** Asks a client for a new credential. */
export const CREDENTIAL_EXPIRED = 'credential-expired'

/** Events of a connection, which stand in no log. */
type ControlType = 'gap' | 'snapshot' | typeof CREDENTIAL_EXPIRED

/** A control event, which stands in no log. `channel` is given where events come in envelopes. */
export function controlFrame(
  type: ControlType,
  data: object,
  {
    cursor,
    envelope,
    named,
  }: {
    cursor: string | null
    envelope: { channel: string | null; id: string | null } | null
    named: boolean
  },
): Buffer {
  const id = cursor === null ? '' : `id: ${cursor}\n`
  const body = envelope
    ? { channel: envelope.channel, id: envelope.id, type, time: new Date().toISOString(), data }
    : data
  return Buffer.from(`${id}${named ? `event: ${type}\n` : ''}data: ${JSON.stringify(body)}\n\n`)
}

/** Bytes ready for a socket: `bytes` with the chunk's header and end, `body` without, for HTTP/1.0. */
export class Chunk {
  readonly bytes: Buffer
  readonly #bodyStart: number

  constructor(bytes: Buffer, bodyStart: number) {
    this.bytes = bytes
    this.#bodyStart = bodyStart
  }

  get bodyLength(): number {
    return this.bytes.length - 2 - this.#bodyStart
  }

  get body(): Buffer {
    return this.bytes.subarray(this.#bodyStart, -2)
  }
}

/** Gathers frames into one HTTP chunk, so that one write carries them all. */
export function chunkOf(frames: readonly Buffer[]): Chunk {
  let length = 0
  for (const frame of frames) length += frame.length
  const header = `${length.toString(16)}\r\n`
  const bytes = Buffer.allocUnsafe(header.length + length + 2)
  let offset = bytes.write(header, 'latin1')
  for (const frame of frames) offset += frame.copy(bytes, offset)
  bytes.write('\r\n', offset, 'latin1')
  return new Chunk(bytes, header.length)
}

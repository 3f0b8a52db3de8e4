// One viewer: its socket, its cursor, and how events are put for it. Where in the log it stands is the
// business of its subscriptions.

import type { Socket } from 'node:net'
import pLimit, { type LimitFunction } from 'p-limit'
import { formatPosition } from '../../shared/event-id.ts'
import { isTerminal } from '../../shared/task.ts'
import type { CloseReason } from './close-reason.ts'
import type { CursorCodec } from './cursor.ts'
import {
  type Chunk,
  CREDENTIAL_EXPIRED,
  chunkOf,
  controlFrame,
  cursorFrame,
  envelopeFrame,
  type FramedEvent,
  HEARTBEAT_FRAME,
} from './sse-frame.ts'
import type { Subscription } from './subscription.ts'

/** Bytes that may wait in the socket of a live viewer; past it the viewer reads from the log at its own pace. */
const MAX_BUFFERED_BYTES = 256 * 1024

/** Bytes after which one write of events ends; its last event may exceed it. */
const MAX_WRITE_BYTES = 256 * 1024

/** How a viewer wants its events. */
export interface ViewerOptions {
  readonly cursor: CursorCodec
  /** Events come in envelopes that name their channel. */
  readonly envelope: boolean
  /** Whether `event:` is sent. */
  readonly named: boolean
  /** Only these types, and what always passes; null = all. */
  readonly types: ReadonlySet<string> | null
}

/** Bounds in time, in ms. */
export interface ConnectionLimits {
  /** A client that takes nothing for this long is given up. */
  readonly writeTimeoutMs: number
  /** At this age, or up to half of it earlier, a connection ends, so that clients spread over new gateways. */
  readonly maxAgeMs: number
}

const HEARTBEAT = chunkOf([HEARTBEAT_FRAME])
const LAST_CHUNK = Buffer.from('0\r\n\r\n')

/** From a socket to its viewer, for listeners that all sockets share. */
const VIEWER = Symbol('viewer')
type ViewerSocket = Socket & { [VIEWER]?: Connection }

export class Connection {
  readonly options: ViewerOptions
  /** Whether this viewer takes the frames that are shared by all viewers of a channel. */
  readonly takesSharedFrames: boolean
  subscriptions: readonly Subscription[] = []
  closed = false
  /** Since it was last looked at. Not a time, which would cost each write a look at the clock. */
  hasWritten = false
  /** No later than the last write, in ms of `performance.now()`. */
  silentSince = 0
  /** Nothing more fits into the socket. */
  blocked = false
  /** When the connection is to end, in ms of `performance.now()`, and why. */
  readonly endsAt: number
  readonly endsFor: 'age' | 'expired'
  readonly #writeTimeoutMs: number
  readonly #socket: ViewerSocket
  readonly #chunked: boolean
  readonly #onClose: (connection: Connection, reason: CloseReason) => void
  #waiting: (() => void)[] | null = null
  #turns: LimitFunction | null = null
  /** The cursor has moved past events that the viewer did not get, so that it does not know it. */
  #cursorUnsent = false

  /**
   * `socket` has had the head of the answer; its body is written here alone, in HTTP/1.1 chunks or, for a
   * client of HTTP/1.0, as it is. `expiresAt` is when its viewer's credential does, in ms since 1970; null = never.
   */
  constructor(
    socket: Socket,
    chunked: boolean,
    options: ViewerOptions,
    { writeTimeoutMs, maxAgeMs }: ConnectionLimits,
    expiresAt: number | null,
    onClose: (connection: Connection, reason: CloseReason) => void,
  ) {
    this.#socket = socket
    this.#chunked = chunked
    this.#writeTimeoutMs = writeTimeoutMs
    const ageMs = maxAgeMs * (1 - Math.random() / 2)
    const lifeMs = expiresAt === null ? Infinity : expiresAt - Date.now()
    this.endsAt = performance.now() + Math.min(ageMs, lifeMs)
    this.endsFor = lifeMs < ageMs ? 'expired' : 'age'
    this.options = options
    this.takesSharedFrames = !options.envelope && options.named && options.types === null
    this.#onClose = onClose
    this.#socket[VIEWER] = this
    // Until something waits to be sent, silence is no fault of the client's.
    socket.setTimeout(0)
    socket.on('drain', onDrain)
    socket.on('end', onEnd)
    socket.on('error', onError)
    socket.on('timeout', onTimeout)
    socket.on('close', onClosed)
  }

  /** Whether a live viewer keeps up. */
  get keepsUp(): boolean {
    return this.#socket.writableLength < MAX_BUFFERED_BYTES
  }

  /**
   * Does a step of catching up when it is its turn: of several channels, one at a time reads and writes, since
   * what all of them read would pile up in the socket.
   */
  inTurn<T>(step: () => Promise<T>): Promise<T> {
    if (this.subscriptions.length === 1) return step()
    this.#turns ??= pLimit(1)
    return this.#turns(step)
  }

  /** Resolves when the socket takes more, or is closed. */
  async writable(): Promise<void> {
    if (!this.blocked || this.closed) return
    await new Promise<void>(resolve => {
      this.#waiting ??= []
      this.#waiting.push(resolve)
    })
  }

  /** Writes a chunk; callers look at `blocked` or `keepsUp` in between. */
  write(chunk: Chunk): void {
    if (this.closed) return
    this.hasWritten = true
    // Past http's own write, which would format the same chunk anew for every viewer.
    const accepted = this.#socket.write(this.#chunked ? chunk.bytes : chunk.body)
    if (accepted || this.blocked) return
    this.blocked = true
    // Node puts it off as long as the client takes anything.
    this.#socket.setTimeout(this.#writeTimeoutMs)
  }

  /**
   * Writes the events that this viewer wants, each under the cursor as it is with it, as many as go in one
   * write. Answers how many it went past and how many of them the viewer gets.
   */
  writeEvents(
    subscription: Subscription,
    events: readonly FramedEvent[],
  ): { passed: number; written: number } {
    const frames: Buffer[] = []
    let passed = 0
    for (let bytes = 0; passed < events.length && bytes < MAX_WRITE_BYTES; passed++) {
      const event = events[passed]!
      subscription.position = { epoch: event.epoch, seq: event.seq }
      this.#cursorUnsent = !this.#wants(event.type)
      if (this.#cursorUnsent) continue
      const frame = this.#frame(subscription.feed.channel, event)
      frames.push(frame)
      bytes += frame.length
    }
    if (frames.length > 0) this.write(chunkOf(frames))
    return { passed, written: frames.length }
  }

  /** Writes a control event; `gap` carries the cursor from which the viewer goes on. */
  writeControl(type: 'gap' | 'snapshot', subscription: Subscription, data: object): void {
    const { envelope, named } = this.options
    const frame = controlFrame(type, data, {
      named,
      cursor: type === 'gap' ? this.#cursor() : null,
      // Unnamed events always come in the envelope: without a type nothing else would tell them apart.
      envelope:
        envelope || !named
          ? { channel: subscription.feed.channel, id: formatPosition(subscription.position) }
          : null,
    })
    this.write(chunkOf([frame]))
    if (type === 'gap') this.#cursorUnsent = false
  }

  /** Ends the response, since its viewer's credential has expired: tells so first, as a browser sees no more of it. */
  expire(): void {
    const { envelope, named } = this.options
    const ofNoChannel = envelope || !named ? { channel: null, id: null } : null
    const frame = controlFrame(CREDENTIAL_EXPIRED, {}, { cursor: null, envelope: ofNoChannel, named })
    this.write(chunkOf([frame]))
    this.end('expired')
  }

  /** Tells the client where it stands although no event says so, so that it resumes from here. */
  writeCursor(): void {
    this.#cursorUnsent = false
    this.write(chunkOf([cursorFrame(this.#cursor())]))
  }

  /** Breaks a silence: by the cursor where the viewer does not know it, else by a comment. */
  heartbeat(): void {
    if (this.blocked) return
    if (this.#cursorUnsent) this.writeCursor()
    else this.write(HEARTBEAT)
  }

  /** A task of the stream has ended; with the last one the stream ends. */
  subscriptionEnded(): void {
    if (this.subscriptions.every(({ ended }) => ended)) this.end('ended')
  }

  /** Ends the response in good order; what was written before still arrives. */
  end(reason: CloseReason): void {
    if (this.closed) return
    this.finish(reason)
    const socket = this.#socket
    if (this.#chunked) socket.write(LAST_CHUNK)
    // A client may leave the rest unread, or keep its own side open, for ever.
    socket.setTimeout(this.#writeTimeoutMs)
    socket.destroySoon()
  }

  /** Gives up on a socket that takes nothing. */
  destroy(reason: CloseReason): void {
    if (this.closed) return
    this.finish(reason)
    this.#socket.destroy()
  }

  #wants(type: string): boolean {
    return this.options.types === null || this.options.types.has(type) || isTerminal(type)
  }

  #frame(channel: string, event: FramedEvent): Buffer {
    const { envelope, named } = this.options
    if (!envelope && named) return event.chunk.body
    return envelopeFrame(channel, event, this.#cursor(), named)
  }

  #cursor(): string {
    return this.options.cursor.format(this.subscriptions.map(({ position }) => position))
  }

  /** The socket takes more. */
  drained(): void {
    this.blocked = false
    this.#socket.setTimeout(0)
    this.#wake()
  }

  /** Lets go of everything but what the socket still has to send. */
  finish(reason: CloseReason): void {
    if (this.closed) return
    this.closed = true
    delete this.#socket[VIEWER]
    this.#wake()
    this.#onClose(this, reason)
  }

  #wake(): void {
    const waiting = this.#waiting ?? []
    this.#waiting = null
    for (const resolve of waiting) resolve()
  }
}

function onDrain(this: ViewerSocket): void {
  this[VIEWER]?.drained()
}

function onTimeout(this: ViewerSocket): void {
  this[VIEWER]?.finish('slow')
  this.destroy()
}

/** The client has closed its side: it will not read on. */
function onEnd(this: ViewerSocket): void {
  this.end()
}

/** What went wrong is of no interest: the socket closes, and its client resumes. */
function onError(): void {}

function onClosed(this: ViewerSocket): void {
  this[VIEWER]?.finish('client')
}

// A viewer of an event stream whose connection the test controls: cut it, resume elsewhere, stop reading.

import { type ClientRequest, get, type IncomingMessage } from 'node:http'
import { afterAll } from '@jest/globals'
import { createParser } from 'eventsource-parser'

export interface SeenEvent {
  /** The cursor, as the client would send it back. */
  readonly id: string
  readonly type: string
  readonly data: string
}

const viewers = new Set<Viewer>()

afterAll(() => {
  for (const viewer of viewers) viewer.cut()
})

/** Opens a stream; resolves when the head of the answer has come. */
export async function openViewer(
  url: string,
  options: { lastEventId?: string; headers?: Record<string, string> } = {},
): Promise<Viewer> {
  const viewer = new Viewer()
  viewers.add(viewer)
  if (options.lastEventId !== undefined) viewer.lastEventId = options.lastEventId
  await viewer.connect(url, options.headers)
  return viewer
}

export class Viewer {
  /** Everything dispatched so far, over all connections. */
  readonly events: SeenEvent[] = []
  /** As an EventSource keeps it, also from blocks without data. */
  lastEventId = ''
  /** Raw text of the current connection. */
  raw = ''
  response!: IncomingMessage
  #request: ClientRequest | undefined
  #changed: (() => void)[] = []
  #done: Promise<'ended' | 'broken'> = Promise.resolve('ended')

  get status(): number {
    return this.response.statusCode ?? 0
  }

  /** How the current connection ended. */
  get done(): Promise<'ended' | 'broken'> {
    return this.#done
  }

  /** The event's data, parsed, of those of a type. */
  data(type: string): unknown[] {
    return this.events.filter(event => event.type === type).map(event => JSON.parse(event.data))
  }

  /** Connects, with the cursor of what was seen before. */
  async connect(url: string, headers: Record<string, string> = {}): Promise<void> {
    this.raw = ''
    const resume = this.lastEventId === '' ? {} : { 'Last-Event-ID': this.lastEventId }
    this.response = await new Promise<IncomingMessage>((resolve, reject) => {
      this.#request = get(
        url,
        { agent: false, headers: { Accept: 'text/event-stream', ...resume, ...headers } },
        resolve,
      )
      this.#request.on('error', reject)
    })
    this.#request?.on('error', () => undefined)
    const parser = createParser({
      onEvent: event =>
        this.events.push({ id: this.lastEventId, type: event.event ?? 'message', data: event.data }),
    })
    this.#done = new Promise(resolve => {
      this.response.on('close', () => {
        resolve(this.response.complete ? 'ended' : 'broken')
        this.#notify()
      })
      this.response.on('error', () => undefined)
    })
    this.response.setEncoding('utf8')
    // What the broken connection before left unfinished is of no account (WHATWG HTML, 9.2.6).
    let line = ''
    let cursor = this.lastEventId
    this.response.on('data', (text: string) => {
      this.raw += text
      // Line by line, since the parser tells no ids of blocks without data. A block counts once it is whole.
      for (const part of text.match(/[^\n]*\n|[^\n]+$/g) ?? []) {
        line += part
        if (!line.endsWith('\n')) continue
        const id = /^id: (.*)\n$/.exec(line)
        if (id) cursor = id[1] ?? ''
        if (line === '\n') this.lastEventId = cursor
        parser.feed(line)
        line = ''
      }
      this.#notify()
    })
  }

  /** Resolves once the condition holds; looks again whenever something has come. */
  async until(condition: (viewer: this) => boolean): Promise<void> {
    while (!condition(this)) {
      await new Promise<void>(resolve => {
        this.#changed.push(resolve)
      })
    }
  }

  /** Breaks the connection off, as a laptop that goes to sleep. */
  cut(): void {
    this.#request?.destroy()
  }

  /** Stops reading; the socket's buffers fill. */
  pause(): void {
    this.response.pause()
  }

  resume(): void {
    this.response.resume()
  }

  #notify(): void {
    const waiting = this.#changed
    this.#changed = []
    for (const resolve of waiting) resolve()
  }
}

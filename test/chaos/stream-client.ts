// One client of an event stream: reads, remembers what it was given, and after any end comes back with its last
// cursor through any gateway, as an EventSource does. It also goes away by itself now and then.

import { type ClientRequest, get, type IncomingMessage } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import type { CursorCodec } from '../../gateway/stream/cursor.ts'
import { ORIGIN, type Position, parsePosition } from '../../shared/event-id.ts'
import { type Block, EventReader } from './event-reader.ts'
import type { Gateway, Gateways } from './gateways.ts'
import type { Random } from './random.ts'
import { ChannelRecord, checksumOf } from './record.ts'

/** What a client asks for. */
export interface Wanted {
  readonly cursor: CursorCodec
  /** Path and query without a cursor. */
  readonly path: string
  /** Events come in envelopes. */
  readonly envelope: boolean
  /** Only these types; null = all. */
  readonly types: ReadonlySet<string> | null
  /** It begins with the oldest event; else with the next one. */
  readonly fromEarliest: boolean
}

export interface ClientOptions {
  readonly name: string
  readonly wanted: Wanted
  readonly gateways: Gateways
  readonly random: Random
  /** Milliseconds from the start of the run. */
  readonly clock: () => number
  /** Told in words of what must not be: a gap, an answer that a client can't make sense of. */
  readonly onSurprise: (text: string) => void
}

/** One connection, for people. */
interface Visit {
  readonly gateway: string
  readonly cursor: string | null
  readonly fromMs: number
  toMs: number | null
  end: string
}

/** A client goes away by itself after this long. */
const STAY_MS = [2_000, 45_000] as const
const AWAY_MS = [20, 400] as const
/** Where no head of an answer comes, as from a frozen gateway, it tries another one. */
const HEAD_TIMEOUT_MS = 4_000
/** Of the connections, the last ones are remembered. */
const MAX_VISITS = 100

export class StreamClient {
  readonly name: string
  readonly wanted: Wanted
  readonly records: ReadonlyMap<string, ChannelRecord>
  readonly visits: Visit[] = []
  /** Connections that were made. */
  connects = 0
  /** The stream has ended for good: a gateway answered 204. */
  finished = false
  readonly #options: ClientOptions
  #cursor: string | null = null
  #started = false
  #stopped = false
  #request: ClientRequest | null = null
  #response: IncomingMessage | null = null

  constructor(options: ClientOptions) {
    this.name = options.name
    this.wanted = options.wanted
    this.#options = options
    this.records = new Map(options.wanted.cursor.channels.map(channel => [channel, new ChannelRecord()]))
    if (options.wanted.fromEarliest) this.#beginAt(() => ORIGIN)
  }

  /** Where it stands in each channel, in the order of `wanted.cursor.channels`; null before it was told. */
  get positions(): Position[] | null {
    return this.#cursor === null ? null : this.wanted.cursor.parse(this.#cursor)
  }

  /** Whether a gateway has begun to answer. */
  get reading(): boolean {
    return this.#response !== null
  }

  /** Resolves when the stream has ended for good or `stop` was called. */
  async run(): Promise<void> {
    const { gateways, random } = this.#options
    while (!this.#stopped && !this.finished) {
      const gateway = await gateways.pick(random)
      if (!this.#stopped) await this.#visit(gateway)
      if (!this.#stopped && !this.finished) await delay(random.int(...AWAY_MS))
    }
  }

  stop(): void {
    this.#stopped = true
    this.cut()
  }

  /** Breaks the connection off. */
  cut(): void {
    this.#response = null
    this.#request?.destroy()
  }

  /** Stops reading, as long as this connection lasts; the buffers on the way fill. */
  pause(): void {
    this.#response?.pause()
  }

  resume(): void {
    this.#response?.resume()
  }

  async #visit(gateway: Gateway): Promise<void> {
    const { clock, random } = this.#options
    const visit: Visit = { gateway: gateway.name, cursor: this.#cursor, fromMs: clock(), toMs: null, end: '' }
    this.visits.push(visit)
    if (this.visits.length > MAX_VISITS) this.visits.shift()
    this.connects++
    const leave = setTimeout(() => this.cut(), random.int(...STAY_MS))
    visit.end = await this.#connection(gateway)
    clearTimeout(leave)
    visit.toMs = clock()
  }

  /** Resolves with how it ended. */
  #connection(gateway: Gateway): Promise<string> {
    return new Promise(resolve => {
      let end = 'cut by the client'
      const request = get(`${gateway.url}${this.#target()}`, { agent: false, headers: this.#headers() })
      this.#request = request
      const noHead = setTimeout(() => request.destroy(new Error('no answer')), HEAD_TIMEOUT_MS)
      request.on('error', error => {
        end = error.message
      })
      request.on('response', response => {
        clearTimeout(noHead)
        response.on('end', () => {
          end = 'ended by the gateway'
        })
        response.on('error', error => {
          end = error.message
        })
        this.#receive(response)
      })
      request.on('close', () => {
        clearTimeout(noHead)
        this.#response = null
        resolve(end)
      })
    })
  }

  /** Most clients resume by the header, some by the query. */
  #target(): string {
    if (this.#cursor === null || !this.#resumesByQuery) return this.wanted.path
    const separator = this.wanted.path.includes('?') ? '&' : '?'
    return `${this.wanted.path}${separator}after=${encodeURIComponent(this.#cursor)}`
  }

  #headers(): Record<string, string> {
    const byHeader = this.#cursor !== null && !this.#resumesByQuery
    return { Accept: 'text/event-stream', ...(byHeader && { 'Last-Event-ID': this.#cursor! }) }
  }

  get #resumesByQuery(): boolean {
    return this.connects % 4 === 0
  }

  #receive(response: IncomingMessage): void {
    this.#response = response
    const { statusCode } = response
    if (statusCode === 204) this.finished = true
    if (statusCode !== 200) {
      response.resume()
      if (statusCode !== 204 && statusCode !== 503) this.#surprise(`was answered ${statusCode}`)
      return
    }
    const reader = new EventReader(block => this.#take(block))
    response.setEncoding('utf8')
    response.on('data', (text: string) => {
      // Once it is closed the client has gone on with another connection.
      if (this.#response === response) reader.push(text)
    })
  }

  #take({ id, type, data }: Block): void {
    if (id !== null) this.#cursor = id
    if (data !== null) this.#takeEvent(id ?? '', type, data)
    if (id !== null && !this.#started) this.#learnStart(id)
  }

  #takeEvent(id: string, type: string, data: string): void {
    const event = this.wanted.envelope
      ? unwrap(data)
      : { channel: this.wanted.cursor.channels[0]!, id, type, data }
    const record = this.records.get(event.channel)
    const position = parsePosition(event.id)
    if (event.type === 'gap' || event.type === 'snapshot') this.#surprise(`got a ${event.type}: ${data}`)
    else if (!record || !position)
      this.#surprise(`got an event of nowhere: ${type} ${id} ${data.slice(0, 200)}`)
    else record.add(position, checksumOf(event.type, event.data), this.#options.clock())
  }

  /** A stream that begins with the next event first says where that is. */
  #learnStart(id: string): void {
    const positions = this.wanted.cursor.parse(id)
    if (!positions) this.#surprise(`got a cursor that is none of its channels: ${id}`)
    else this.#beginAt(index => positions[index]!)
  }

  #beginAt(position: (index: number) => Position): void {
    this.#started = true
    for (const [i, channel] of this.wanted.cursor.channels.entries()) {
      this.records.get(channel)!.start = position(i)
    }
  }

  #surprise(what: string): void {
    this.#options.onSurprise(`${this.name} ${what}, from ${this.visits.at(-1)?.gateway}`)
  }
}

function unwrap(text: string): { channel: string; id: string; type: string; data: string } {
  const { channel, id, type, data } = JSON.parse(text)
  return { channel, id, type, data: typeof data === 'string' ? data : JSON.stringify(data) }
}

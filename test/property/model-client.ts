// A client of the model: reads a stream as an EventSource does and checks each thing it is told against what
// was really appended.

import { createParser } from 'eventsource-parser'
import type { ViewerOptions } from '../../gateway/stream/connection.ts'
import { comparePositions, ORIGIN, type Position, parsePosition } from '../../shared/event-id.ts'
import type { MemoryEventLog } from '../support/memory-event-log.ts'

/** All that was ever appended to a channel, by epoch and number, whether it is retained or not. */
export class Appended {
  readonly #events = new Map<string, { type: string; data: string }>()
  /** How often the log went back or away. */
  resets = 0

  add({ epoch, seq }: Position, type: string, data: string): void {
    this.#events.set(`${epoch}-${seq}`, { type, data })
  }

  get(id: string): { type: string; data: string } | undefined {
    return this.#events.get(id)
  }

  /** Whether nothing that somebody wants stands between two positions of one epoch. */
  nothingBetween(after: Position, before: Position, wants: (type: string) => boolean): boolean {
    for (let seq = after.seq + 1; seq < before.seq; seq++) {
      const event = this.get(`${before.epoch}-${seq}`)
      if (!event || wants(event.type)) return false
    }
    return after.epoch === before.epoch || comparePositions(after, ORIGIN) === 0
  }
}

interface Told {
  readonly channel: string
  readonly id: string | null
  readonly type: string
  readonly data: unknown
}

export class ModelClient {
  /** What it would send back. */
  lastEventId = ''
  /** Everything it was told, for a failure's report. */
  readonly story: string[] = []
  readonly #viewer: ViewerOptions
  readonly #appended: ReadonlyMap<string, Appended>
  readonly #log: MemoryEventLog
  /** Where it stands in each channel; null while it has no idea. */
  #positions: (Position | null)[]
  #expectsUnknown = new Set<string>()
  #origin: 'earliest' | 'latest' = 'earliest'
  /** Channels of which something came over this connection. */
  #heard = new Set<string>()
  #feed: (text: string) => void = () => undefined

  constructor(viewer: ViewerOptions, appended: ReadonlyMap<string, Appended>, log: MemoryEventLog) {
    this.#viewer = viewer
    this.#appended = appended
    this.#log = log
    this.#positions = viewer.cursor.channels.map(() => null)
  }

  /** A new connection with this cursor; what an older one left half-read is dropped. */
  connect(cursor: string | null, origin: 'earliest' | 'latest'): void {
    this.story.push(`connects after ${cursor} from ${origin}`)
    const { cursor: codec } = this.#viewer
    const parsed = cursor === null ? null : codec.parse(cursor)
    this.#positions = codec.channels.map((_, i) => parsed?.[i] ?? null)
    this.#expectsUnknown = new Set(cursor !== null && !parsed ? codec.channels : [])
    this.#origin = origin
    this.#heard = new Set()
    const parser = createParser({ onEvent: ({ event, data }) => this.#hear(event ?? null, data) })
    let rest = ''
    let cursorIsNew = false
    this.lastEventId = cursor ?? ''
    this.#feed = text => {
      const lines = (rest + text).split(/(?<=\n)/)
      rest = lines.at(-1)?.endsWith('\n') ? '' : (lines.pop() ?? '')
      for (const line of lines) {
        const id = /^id: (.*)\n$/.exec(line)
        if (id) this.lastEventId = id[1] ?? ''
        cursorIsNew ||= id !== null
        parser.feed(line)
        if (line !== '\n') continue
        // Of a block without data the parser tells nothing.
        if (cursorIsNew) this.#moveTo(this.lastEventId, null)
        cursorIsNew = false
      }
    }
  }

  take(bytes: Buffer): void {
    this.#feed(bytes.toString())
  }

  /** Whether everything that is retained and that it wants has come. */
  expectComplete(): void {
    for (const [i, channel] of this.#viewer.cursor.channels.entries()) {
      const position = this.#positions[i] ?? ORIGIN
      const missing = this.#retained(channel).filter(event => comparePositions(event, position) > 0)
      if (this.#positions[i] === null && this.#origin === 'latest') this.#fail(`never told where it is`)
      if (missing.length > 0) this.#fail(`${channel}: ${missing.map(show).join(' ')} never came`)
    }
  }

  #hear(name: string | null, text: string): void {
    if (this.story.length > 2000) this.#fail('endless')
    const told = this.#tellingOf(name, text)
    this.story.push(`${told.channel} ${told.type} ${told.id} ${JSON.stringify(told.data).slice(0, 120)}`)
    if (told.type === 'snapshot') return
    if (told.type === 'gap') this.#hearGap(told.channel, told.data as GapData)
    else this.#hearEvent(told)
  }

  #tellingOf(name: string | null, text: string): Told {
    const { envelope, named, cursor } = this.#viewer
    if (envelope || !named) {
      const told = JSON.parse(text) as Told
      if (named && name !== told.type) this.#fail(`named ${name}, says ${told.type}`)
      return told
    }
    const data = name === 'gap' ? JSON.parse(text) : text
    return { channel: cursor.channels[0]!, id: this.lastEventId, type: name ?? 'message', data }
  }

  #hearEvent({ channel, id, type, data }: Told): void {
    const event = this.#of(channel).get(id ?? '')
    if (!event) this.#fail(`${channel} ${id} was never appended`)
    if (event.type !== type || event.data !== data) this.#fail(`${channel} ${id} is another event`)
    if (!this.#wants(type)) this.#fail(`${channel} ${id} was not asked for`)
    if (this.#expectsUnknown.has(channel)) this.#fail(`${channel}: no gap after a cursor that is none`)
    const at = parsePosition(id ?? '')!
    const position = this.#positions[this.#indexOf(channel)]!
    if (position) {
      const gapless = this.#of(channel).nothingBetween(position, at, type => this.#wants(type))
      if (!gapless || comparePositions(at, position) <= 0)
        this.#fail(`${channel} ${id} does not follow ${show(position)}`)
    } else this.#expectNothingRetainedUpTo(channel, { ...at, seq: at.seq - 1 })
    this.#heard.add(channel)
    this.#moveTo(this.lastEventId, { channel, at })
  }

  #hearGap(channel: string, { channel: named, reason, missed, resumedAt }: GapData): void {
    if (named !== channel) this.#fail(`a gap of ${channel} that names ${named}`)
    const before = this.#positions[this.#indexOf(channel)] ?? null
    const after = this.#parse(this.lastEventId)[this.#indexOf(channel)]!
    const resumes = comparePositions(after, ORIGIN) === 0 ? null : `${after.epoch}-${after.seq + 1}`
    if (resumes !== resumedAt) this.#fail(`resumes at ${resumes}, says ${resumedAt}`)
    if (reason === 'trimmed') this.#checkTrimmed(channel, before, after, missed)
    else if (missed !== null) this.#fail(`nobody can know that ${missed} are missed`)
    if (reason === 'reset' && this.#of(channel).resets === 0) this.#fail(`${channel} was never reset`)
    if (reason === 'reset' && before) this.#checkReset(channel, before, after)
    if ((reason === 'unknown') !== this.#expectsUnknown.delete(channel)) this.#fail(`${reason} out of place`)
    this.#positions[this.#indexOf(channel)] = after
    this.#moveTo(this.lastEventId, { channel, at: after })
  }

  #checkTrimmed(channel: string, before: Position | null, after: Position, missed: number | null): void {
    if (missed === null) this.#fail('trimmed, but how many?')
    // It may stand further than it knows, where it did not want what came.
    const from = { epoch: after.epoch, seq: after.seq - (missed ?? 0) }
    const next = { ...from, seq: from.seq + 1 }
    const follows =
      !before ||
      (from.seq >= before.seq && this.#of(channel).nothingBetween(before, next, type => this.#wants(type)))
    if (!follows) this.#fail(`${missed} before ${show(after)} are not what follows ${show(before)}`)
    const kept = this.#retained(channel).filter(
      event => comparePositions(event, from) > 0 && comparePositions(event, after) <= 0,
    )
    if (kept.length > 0) this.#fail(`${kept.map(show).join(' ')} are said to be trimmed`)
  }

  /** Delivery goes on behind what was seen last, if that is retained, and else from the oldest on. */
  #checkReset(channel: string, before: Position, after: Position): void {
    const mayBeginAtTheLatest = this.#origin === 'latest' && !this.#heard.has(channel)
    // A client that stalled reads of an earlier reset than the one that the log shows.
    if (mayBeginAtTheLatest || this.#viewer.types || this.#of(channel).resets > 1) return
    const retained = this.#retained(channel)
    const isRetained = retained.some(event => comparePositions(event, before) === 0)
    const skipped = retained.filter(
      event => comparePositions(event, after) <= 0 && !(isRetained && comparePositions(event, before) <= 0),
    )
    if (skipped.length > 0) this.#fail(`the reset skips ${skipped.map(show).join(' ')}`)
  }

  /** Takes a cursor over; but in the channel it belongs to, it may only go past what nobody wants. */
  #moveTo(cursor: string, own: { channel: string; at: Position } | null): void {
    if (cursor === '') return
    for (const [i, position] of this.#parse(cursor).entries()) {
      const channel = this.#viewer.cursor.channels[i]!
      const before = this.#positions[i] ?? null
      this.#positions[i] = position
      if (own?.channel === channel) {
        if (comparePositions(own.at, position) !== 0)
          this.#fail(`the cursor of ${channel} is ${show(position)}`)
      } else if (before) {
        const next = { ...position, seq: position.seq + 1 }
        const still = comparePositions(before, position) === 0
        if (!still && !this.#of(channel).nothingBetween(before, next, type => this.#wants(type)))
          this.#fail(`the cursor of ${channel} went from ${show(before)} to ${show(position)}`)
      } else if (this.#origin === 'earliest') this.#expectNothingRetainedUpTo(channel, position)
    }
  }

  /** Who begins with the earliest gets all that is there; retained now, it was then. */
  #expectNothingRetainedUpTo(channel: string, position: Position): void {
    const skipped = this.#retained(channel).filter(event => comparePositions(event, position) <= 0)
    if (skipped.length > 0) this.#fail(`${channel} begins after ${skipped.map(show).join(' ')}`)
  }

  #retained(channel: string): Position[] {
    return (this.#log.logs.get(channel)?.events ?? []).filter(({ type }) => this.#wants(type))
  }

  #parse(cursor: string): Position[] {
    return this.#viewer.cursor.parse(cursor) ?? this.#fail(`${cursor} is no cursor`)
  }

  #wants(type: string): boolean {
    return this.#viewer.types === null || this.#viewer.types.has(type)
  }

  #of(channel: string): Appended {
    return this.#appended.get(channel)!
  }

  #indexOf(channel: string): number {
    return this.#viewer.cursor.channels.indexOf(channel)
  }

  #fail(what: string): never {
    throw new Error(`${what}\n${this.story.join('\n')}`)
  }
}

interface GapData {
  readonly channel: string
  readonly reason: string
  readonly missed: number | null
  readonly resumedAt: string | null
}

function show({ epoch, seq }: Position): string {
  return `${epoch}-${seq}`
}

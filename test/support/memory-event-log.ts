// An event log in memory whose every step a test controls: when an operation reaches it, when its answer comes
// back, what becomes of the messages it publishes. It passes the same contract as the one on Redis.

import { setImmediate as turn } from 'node:timers/promises'
import { type ChannelEvent, type NewEvent, taskChannel, taskOfChannel } from '../../shared/event.ts'
import { comparePositions, formatPosition, type Position } from '../../shared/event-id.ts'
import {
  DEFAULT_PAGE,
  type EventLog,
  type LogPage,
  type Once,
  type OnceAppend,
  type PageLimits,
  type Retention,
  type TaskAppend,
  type TaskWrite,
} from '../../shared/event-log.ts'

interface StoredLog {
  last: Position
  events: ChannelEvent[]
  expireMs: number
}

/** Carries an operation out, now or later, and answers what came of it. */
export type CarryOut = <T>(operation: () => T) => Promise<T>

export interface MemoryLogOptions {
  readonly retention: Retention
  readonly carryOut?: CarryOut
  readonly onPublish?: (channel: string, message: Buffer) => void
  /** The epoch that a new log gets, in ms since 1970. */
  readonly now?: () => number
}

export class MemoryEventLog implements EventLog {
  /** What is stored, for a test to look at and to damage. */
  readonly logs: Map<string, StoredLog>
  readonly tasks: Map<string, Map<string, string>>
  /** What was appended only once, by channel and key. It is never forgotten here. */
  readonly #done: Map<string, { fingerprint: string; first: Position }>
  readonly #options: Required<MemoryLogOptions>
  /** The last own appends. */
  readonly #reached = new Map<string, Position>()

  /** `of`: another one whose data this one shares, as two connections do. */
  constructor(options: MemoryLogOptions, of?: MemoryEventLog) {
    this.logs = of?.logs ?? new Map()
    this.tasks = of?.tasks ?? new Map()
    this.#done = of ? of.#done : new Map()
    this.#options = {
      carryOut: async operation => {
        await turn()
        return operation()
      },
      onPublish: () => undefined,
      now: Date.now,
      ...options,
    }
  }

  append(channel: string, events: readonly NewEvent[]): Promise<Position> {
    return this.#options.carryOut(() => this.#add(channel, events, this.#options.retention.ttlMs))
  }

  appendOnce(channel: string, events: readonly NewEvent[], once: Once): Promise<OnceAppend> {
    return this.#options.carryOut(() => {
      const done = this.#doneBefore(channel, once)
      if (done) return done
      const first = this.#add(channel, events, this.#options.retention.ttlMs)
      this.#note(channel, once, first)
      return { outcome: 'ok', first }
    })
  }

  appendToTask(taskId: string, events: readonly NewEvent[], write: TaskWrite): Promise<TaskAppend> {
    return this.#options.carryOut(() => {
      const channel = taskChannel(taskId)
      const task = this.tasks.get(taskId) ?? new Map<string, string>()
      const cancelRequested = task.get('cancel') === '1'
      const refusal = this.#refusal(taskId, write)
      if (refusal) return refusal
      this.tasks.set(taskId, task)
      const first = this.#add(channel, events, write.expireMs ?? 0)
      for (const [field, value] of Object.entries(write.set)) {
        if (value === null || value === '') task.delete(field)
        else task.set(field, String(value))
      }
      task.set('lastEventId', formatPosition({ epoch: first.epoch, seq: first.seq + events.length - 1 }))
      if (write.write !== undefined) task.set('write', String(write.write))
      const fields = write.answersFields ? Object.fromEntries(task) : undefined
      return { outcome: 'ok', first, cancelRequested, ...(fields && { fields }) }
    })
  }

  /** No test of it asks for copies. */
  async copyEvents(): Promise<boolean> {
    return true
  }

  readPage(
    channel: string,
    after: Position | 'earliest',
    limits: PageLimits = DEFAULT_PAGE,
  ): Promise<LogPage> {
    return this.#options.carryOut(() => {
      // As Redis does with what is no id.
      if (after !== 'earliest' && after.seq < 0) throw new Error('Invalid stream ID')
      const log = this.logs.get(channel)
      if (!log) return { events: [], head: null }
      const following = log.events.filter(event => after === 'earliest' || comparePositions(event, after) > 0)
      const events: ChannelEvent[] = []
      let bytes = 0
      for (const event of following) {
        if (events.length >= limits.maxEvents || bytes >= limits.maxBytes) break
        events.push({ ...event })
        bytes += event.data.length
      }
      return { events, head: { ...log.last } }
    })
  }

  assertReached(channel: string, known: Position): Promise<void> {
    return this.#options.carryOut(() => {
      const log = this.logs.get(channel)
      if (!log || comparePositions(log.last, known) >= 0) return
      log.last = { epoch: Math.max(this.#options.now(), known.epoch + 1), seq: 0 }
    })
  }

  heads(channels: readonly string[]): Promise<(Position | null)[]> {
    return this.#options.carryOut(() =>
      channels.map(channel => {
        const log = this.logs.get(channel)
        return log ? { ...log.last } : null
      }),
    )
  }

  /** The same log over a connection of its own. */
  connection(carryOut: CarryOut): MemoryEventLog {
    return new MemoryEventLog({ ...this.#options, carryOut }, this)
  }

  /** Cuts a log back to its first events, as a failover to a lagging replica does; to none: it is gone. */
  goBack(channel: string, keep: number): void {
    const log = this.logs.get(channel)
    const kept = log?.events.slice(0, keep) ?? []
    const last = kept.at(-1)
    if (log && last) {
      log.events = kept
      log.last = { epoch: last.epoch, seq: last.seq }
      const taskId = taskOfChannel(channel)
      if (taskId !== null) this.tasks.get(taskId)?.set('lastEventId', formatPosition(last))
    } else this.logs.delete(channel)
  }

  #doneBefore(channel: string, { key, fingerprint }: Once): OnceAppend | null {
    const done = this.#done.get(`${channel} ${key}`)
    if (!done) return null
    return done.fingerprint === fingerprint
      ? { outcome: 'repeated', first: done.first }
      : { outcome: 'reused' }
  }

  #note(channel: string, { key, fingerprint }: Once, first: Position): void {
    this.#done.set(`${channel} ${key}`, { fingerprint, first })
  }

  #refusal(
    taskId: string,
    { from, run, write, unlessCancelled, unlessExpired }: TaskWrite,
  ): TaskAppend | null {
    const task = this.tasks.get(taskId)
    if (from.length === 0) return task ? { outcome: 'exists' } : null
    if (!task) return { outcome: 'unknown' }
    const state = task.get('state') ?? ''
    if (run !== undefined && task.get('run') !== String(run)) return { outcome: 'fenced', state }
    const cancelRequested = task.get('cancel') === '1'
    if (write !== undefined && write <= Number(task.get('write') ?? 0)) {
      return {
        outcome: 'repeated',
        lastEventId: task.get('lastEventId') ?? '',
        cancelRequested,
      }
    }
    if (!from.includes(state)) return { outcome: 'refused', state }
    if (unlessCancelled && cancelRequested) return { outcome: 'cancelling' }
    const expiresAt = Number(task.get('expiresAt') ?? Number.POSITIVE_INFINITY)
    return unlessExpired !== undefined && expiresAt <= unlessExpired ? { outcome: 'refused', state } : null
  }

  #add(channel: string, events: readonly NewEvent[], expireMs: number): Position {
    const { retention, now, onPublish } = this.#options
    const log = this.logs.get(channel) ?? { last: { epoch: now(), seq: 0 }, events: [], expireMs: 0 }
    this.logs.set(channel, log)
    const known = this.#reached.get(channel)
    if (known && comparePositions(log.last, known) < 0)
      log.last = { epoch: Math.max(now(), known.epoch + 1), seq: 0 }
    const first = { epoch: log.last.epoch, seq: log.last.seq + 1 }
    const added = events.map((event, i) => ({
      ...event,
      epoch: first.epoch,
      seq: first.seq + i,
      data: Buffer.from(event.data),
    }))
    log.events = [...log.events, ...added].slice(-retention.maxEvents)
    log.last = { epoch: first.epoch, seq: first.seq + events.length - 1 }
    this.#reached.set(channel, { ...log.last })
    if (expireMs > 0) log.expireMs = expireMs
    onPublish(channel, Buffer.concat(added.flatMap(published)))
    return first
  }
}

/** As append-event.lua writes it. */
function published(event: ChannelEvent): Buffer[] {
  const { type, time, format, data } = event
  return [Buffer.from(`${formatPosition(event)} ${time} ${type} ${format} ${data.length}\n`), data]
}

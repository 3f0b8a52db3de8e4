// The event log on Redis streams: the one caller of append-event.lua, append-step.lua, read-page.lua and new-epoch.lua.

import { readFileSync } from 'node:fs'
import type { ChainableCommander, Redis } from 'ioredis'
import type { ChannelEvent, DataFormat, NewEvent } from './event.ts'
import { taskChannel } from './event.ts'
import { type CopyLog, type CopyOutcome, type CopyStep, EventCopies, parseChannels } from './event-copies.ts'
import { formatPosition, type Position, parsePosition } from './event-id.ts'
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
} from './event-log.ts'
import { copiedKey, feedKey, logKey, onceKey, taskKey, topicKey } from './keys.ts'
import { AppendBatch, type AppendReply, type Argument } from './redis-append-batch.ts'

const lua = (name: string): string => readFileSync(new URL(name, import.meta.url), 'utf8')

interface ScriptCommands {
  /** Arguments as one array: ioredis copies those that are spread several times. */
  millraceAppend(numberOfKeys: number, args: Argument[]): Promise<AppendReply>
  millraceStep(args: Argument[]): Promise<[outcome: string, detail: string]>
  millraceNewEpoch(key: string, epoch: number, seq: number): Promise<null>
  millraceReadPage(key: string, after: string, maxEvents: number, maxBytes: number): unknown
  millraceReadPageBuffer(
    key: string,
    after: string,
    maxEvents: number,
    maxBytes: number,
  ): Promise<[Buffer, RawEntry[]]>
}
type RawEntry = [id: Buffer, fields: Buffer[]]

export interface EventLogRetention {
  readonly channels: Retention
  /** Most events of one task. Its log has no idle expiry: it goes with the task. */
  readonly taskMaxEvents: number
}

/** How a state moves that is kept beside a channel's log. */
interface StateStep {
  /** '' = there is none yet. */
  readonly before: string
  readonly after: string
  /** How long it is remembered, in ms; 0 = for good. */
  readonly keptMs: number
}

/** An append with longer arguments goes by itself, so that no script is long. */
const MAX_BATCHED_CHARS = 8 * 1024

/** Channels of which the last own append is remembered. */
const MAX_REACHED = 10_000

export class RedisEventLog implements EventLog, CopyLog {
  readonly #redis: Redis & ScriptCommands
  readonly #retention: EventLogRetention
  /** Of tasks: a worker hears of many in one answer, and what it sends after an append has to go after it. */
  readonly #toTasks: AppendBatch
  /** Of channels: publishers' requests come by themselves. */
  readonly #toChannels: AppendBatch
  readonly #copies = new EventCopies(this)
  /** The last own appends: a log that ends before them has gone back. */
  readonly #reached = new Map<string, Position>()
  #appended = 0

  /** `redis` stays the caller's: it is neither configured nor closed here. */
  constructor(redis: Redis, retention: EventLogRetention) {
    const append = lua('./append-to-log.lua') + lua('./append-event.lua')
    redis.defineCommand('millraceAppend', { lua: append })
    redis.defineCommand('millraceStep', {
      lua: lua('./append-to-log.lua') + lua('./append-step.lua'),
      numberOfKeys: 2,
    })
    redis.defineCommand('millraceReadPage', { lua: lua('./read-page.lua'), numberOfKeys: 1, readOnly: true })
    redis.defineCommand('millraceNewEpoch', { lua: lua('./new-epoch.lua'), numberOfKeys: 1 })
    this.#redis = redis as Redis & ScriptCommands
    this.#toTasks = new AppendBatch(redis, append, lua('./append-batch.lua'), process.nextTick)
    this.#toChannels = new AppendBatch(redis, append, lua('./append-batch.lua'), setImmediate)
    this.#retention = retention
  }

  /** Events that this process has asked to append, those of tasks and copies among them. */
  get appended(): number {
    return this.#appended
  }

  async append(channel: string, events: readonly NewEvent[]): Promise<Position> {
    const [, first] = await this.#appendToChannel(channel, events)
    return this.#noteReached(channel, first, events.length)
  }

  async appendOnce(channel: string, events: readonly NewEvent[], once: Once): Promise<OnceAppend> {
    const [outcome, first] = await this.#appendToChannel(channel, events, once)
    if (outcome === 'reused') return { outcome }
    if (outcome === 'repeated') return { outcome, first: requirePosition(first) }
    return { outcome: 'ok', first: this.#noteReached(channel, first, events.length) }
  }

  async appendToTask(taskId: string, events: readonly NewEvent[], write: TaskWrite): Promise<TaskAppend> {
    const channel = taskChannel(taskId)
    const { from, run = '', unlessCancelled, unlessExpired = '', returning = [], once, expireMs = 0 } = write
    const keys = [logKey(channel), taskKey(taskId), ...(once ? [onceKey(channel, once.key)] : [])]
    const args = this.#appendArguments(channel, this.#retention.taskMaxEvents, expireMs, events)
    args.push(...onceArguments(once))
    args.push(from.join(' '), run, write.write ?? '', unlessCancelled ? '1' : '', unlessExpired)
    args.push(returning.length, ...returning)
    for (const field in write.set) args.push(field, write.set[field] ?? '')

    const [outcome = '', detail = '', cancel, channels, values] = await (isLarge(args)
      ? this.#redis.millraceAppend(keys.length, [...keys, ...args])
      : this.#toTasks.append(keys, args))
    const cancelRequested = cancel === '1'
    switch (outcome) {
      case 'ok': {
        // With its only event a log loses its task, and nothing follows the end of a task.
        const first =
          from.length === 0 ? requirePosition(detail) : this.#noteReached(channel, detail, events.length)
        if (write.expireMs !== undefined) this.#reached.delete(channel)
        if (channels) await this.#copies.append(taskId, parseChannels(channels), first, events)
        return { outcome, first, cancelRequested, ...(values && { values }) }
      }
      case 'repeated':
        return { outcome, lastEventId: detail, cancelRequested }
      case 'fenced':
      case 'refused':
        return { outcome, state: detail }
      case 'reused':
      case 'exists':
      case 'unknown':
      case 'cancelling':
        return { outcome }
      default:
        throw new Error(`append-event.lua answered ${outcome}`)
    }
  }

  async readPage(
    channel: string,
    after: Position | 'earliest',
    limits: PageLimits = DEFAULT_PAGE,
  ): Promise<LogPage> {
    const [head, entries] = await this.#redis.millraceReadPageBuffer(
      logKey(channel),
      after === 'earliest' ? '-' : `${after.epoch}-${after.seq}`,
      limits.maxEvents,
      limits.maxBytes,
    )
    return { events: entries.map(toEvent), head: parsePosition(head.toString()) }
  }

  async assertReached(channel: string, known: Position): Promise<void> {
    await this.#redis.millraceNewEpoch(logKey(channel), known.epoch, known.seq)
  }

  async heads(channels: readonly string[]): Promise<(Position | null)[]> {
    const pipeline = this.#redis.pipeline() as ChainableCommander & Pick<ScriptCommands, 'millraceReadPage'>
    for (const channel of channels) pipeline.millraceReadPage(logKey(channel), '-', 0, 0)
    const replies = (await pipeline.exec()) ?? []
    return replies.map(([error, page]) => {
      if (error) throw error
      return parsePosition((page as [head: string])[0])
    })
  }

  copyEvents(taskId: string, channels: readonly string[], lastEventId: string): Promise<boolean> {
    return this.#copies.catchUp(taskId, channels, lastEventId)
  }

  async copiedTo(channel: string, taskId: string): Promise<Position | null> {
    return parsePosition((await this.#redis.get(copiedKey(channel, taskId))) ?? '')
  }

  async copyTo(
    channel: string,
    taskId: string,
    { after, events, reached, keptMs }: CopyStep,
  ): Promise<CopyOutcome> {
    const moved = await this.#appendStep(channel, copiedKey(channel, taskId), events, {
      before: after ? formatPosition(after) : '',
      after: formatPosition(reached),
      keptMs,
    })
    return moved === null ? { outcome: 'ok' } : { outcome: 'moved', to: parsePosition(moved) }
  }

  /** The state of a channel's feed; '' before its first step. */
  async feedState(channel: string): Promise<string> {
    return (await this.#redis.get(feedKey(channel))) ?? ''
  }

  /**
   * Appends the events of a feed's step and notes the state that it comes to. Answers null, or the state as it is
   * where that is another one than `before`; nothing was changed then.
   */
  appendFeedStep(channel: string, events: readonly NewEvent[], step: StateStep): Promise<string | null> {
    return this.#appendStep(channel, feedKey(channel), events, step)
  }

  async #appendStep(
    channel: string,
    stateKey: string,
    events: readonly NewEvent[],
    { before, after, keptMs }: StateStep,
  ): Promise<string | null> {
    const { maxEvents, ttlMs } = this.#retention.channels
    const [outcome, detail] = await this.#redis.millraceStep([
      logKey(channel),
      stateKey,
      ...this.#appendArguments(channel, maxEvents, ttlMs, events),
      before,
      after,
      keptMs,
    ])
    if (outcome === 'moved') return detail
    this.#noteReached(channel, detail, events.length)
    return null
  }

  #appendToChannel(channel: string, events: readonly NewEvent[], once?: Once): Promise<AppendReply> {
    const { maxEvents, ttlMs } = this.#retention.channels
    const keys = [logKey(channel), ...(once ? [onceKey(channel, once.key)] : [])]
    const args = this.#appendArguments(channel, maxEvents, ttlMs, events)
    args.push(...onceArguments(once))
    return isLarge(args)
      ? this.#redis.millraceAppend(keys.length, [...keys, ...args])
      : this.#toChannels.append(keys, args)
  }

  #appendArguments(
    channel: string,
    maxEvents: number,
    expireMs: number,
    events: readonly NewEvent[],
  ): Argument[] {
    this.#appended += events.length
    const known = this.#reached.get(channel)
    const args: Argument[] = [
      'PUBLISH',
      topicKey(channel),
      maxEvents,
      expireMs,
      known ? formatPosition(known) : '',
      events.length,
    ]
    for (const event of events) args.push(event.type, event.time, event.format, event.data)
    return args
  }

  /** Takes the answer to an append; the channel's next one tells Redis how far the log had come. */
  #noteReached(channel: string, firstId: string | undefined, count: number): Position {
    const first = requirePosition(firstId)
    this.#reached.delete(channel)
    this.#reached.set(channel, { epoch: first.epoch, seq: first.seq + count - 1 })
    for (const longestAgo of this.#reached.keys()) {
      if (this.#reached.size <= MAX_REACHED) break
      this.#reached.delete(longestAgo)
    }
    return first
  }
}

function isLarge(args: readonly Argument[]): boolean {
  let chars = 0
  for (const arg of args) if (typeof arg === 'string') chars += arg.length
  return chars > MAX_BATCHED_CHARS
}

function onceArguments(once: Once | undefined): Argument[] {
  return [once?.fingerprint ?? '', once?.keptMs ?? 0]
}

function toEvent([id, fields]: RawEntry): ChannelEvent {
  // The fields' order is append-event.lua's: type, time, and the data under the name of their format.
  const [, type, , time, format, data] = fields as [Buffer, Buffer, Buffer, Buffer, Buffer, Buffer]
  const { epoch, seq } = requirePosition(id.toString('latin1'))
  return {
    epoch,
    seq,
    type: type.toString('latin1'),
    time: Number(time.toString('latin1')),
    format: format.toString('latin1') as DataFormat,
    data,
  }
}

function requirePosition(id: string | undefined): Position {
  const position = id === undefined ? null : parsePosition(id)
  if (!position) throw new Error(`not an event id in the log: ${id}`)
  return position
}

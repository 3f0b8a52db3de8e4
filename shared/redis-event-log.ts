// The event log on Redis streams: the one caller of append-step.lua, read-page.lua and new-epoch.lua.

import { readFileSync } from 'node:fs'
import type { ChainableCommander, Redis } from 'ioredis'
import type { ChannelEvent, DataFormat, NewEvent } from './event.ts'
import { type CopyLog, type CopyOutcome, type CopyStep, EventCopies } from './event-copies.ts'
import { formatPosition, type Position, parsePosition, requirePosition } from './event-id.ts'
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
import { copiedKey, feedKey, logKey, onceKey } from './keys.ts'
import { dataOf, OwnAppends } from './own-appends.ts'
import { APPEND_TO_LOG, AppendBatch, type AppendReply } from './redis-append-batch.ts'
import { TaskLog } from './redis-task-log.ts'

const lua = (name: string): string => readFileSync(new URL(name, import.meta.url), 'utf8')

interface ScriptCommands {
  /** Arguments as one array: ioredis copies those that are spread several times. */
  millraceStep(args: (string | number)[]): Promise<[outcome: string, detail: string]>
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

/** Appends of one script. */
const MAX_CHANNEL_APPENDS = 32

export class RedisEventLog implements EventLog, CopyLog {
  readonly #redis: Redis & ScriptCommands
  readonly #retention: EventLogRetention
  /** Publishers' requests come by themselves: those of one turn of the event loop go together. */
  readonly #toChannels: AppendBatch
  readonly #copies = new EventCopies(this)
  readonly #own = new OwnAppends()
  /** What this log does for tasks, for scripts that do more than append. */
  readonly taskLog: TaskLog

  /** `redis` stays the caller's: it is neither configured nor closed here. */
  constructor(redis: Redis, retention: EventLogRetention) {
    redis.defineCommand('millraceStep', { lua: APPEND_TO_LOG + lua('./append-step.lua'), numberOfKeys: 2 })
    redis.defineCommand('millraceReadPage', { lua: lua('./read-page.lua'), numberOfKeys: 1, readOnly: true })
    redis.defineCommand('millraceNewEpoch', { lua: lua('./new-epoch.lua'), numberOfKeys: 1 })
    this.#redis = redis as Redis & ScriptCommands
    this.#toChannels = new AppendBatch(redis, setImmediate, MAX_CHANNEL_APPENDS)
    this.taskLog = new TaskLog(redis, retention.taskMaxEvents, this.#own, this.#copies)
    this.#retention = retention
  }

  /** Events that this process has appended, copies and those of tasks among them, but for a task's first. */
  get appended(): number {
    return this.#own.events
  }

  async append(channel: string, events: readonly NewEvent[]): Promise<Position> {
    const [, first] = await this.#appendToChannel(channel, events)
    return this.#own.reached(channel, first, events.length)
  }

  async appendOnce(channel: string, events: readonly NewEvent[], once: Once): Promise<OnceAppend> {
    const [outcome, first] = await this.#appendToChannel(channel, events, once)
    if (outcome === 'reused') return { outcome }
    if (outcome === 'repeated') return { outcome, first: requirePosition(first) }
    return { outcome: 'ok', first: this.#own.reached(channel, first, events.length) }
  }

  appendToTask(taskId: string, events: readonly NewEvent[], write: TaskWrite): Promise<TaskAppend> {
    return this.taskLog.append(taskId, events, write)
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
    const [outcome, detail] = await this.#redis.millraceStep([
      logKey(channel),
      stateKey,
      before,
      after,
      keptMs,
      JSON.stringify(this.#own.make(channel, this.#kept, events)),
      ...dataOf(events),
    ])
    if (outcome === 'moved') return detail
    this.#own.reached(channel, detail, events.length)
    return null
  }

  #appendToChannel(channel: string, events: readonly NewEvent[], once?: Once): Promise<AppendReply> {
    return this.#toChannels.append({
      keys: [logKey(channel), ...(once ? [onceKey(channel, once.key)] : [])],
      append: JSON.stringify(this.#own.make(channel, this.#kept, events, once)),
      data: dataOf(events),
    })
  }

  get #kept() {
    const { maxEvents, ttlMs } = this.#retention.channels
    return { maxEvents, expireMs: ttlMs }
  }
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

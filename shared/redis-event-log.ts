// The event log on Redis streams: the one caller of append-step.lua, read-page.lua and new-epoch.lua.

import { readFileSync } from 'node:fs'
import { toUSVString as wellFormed } from 'node:util'
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
  type TaskFields,
  type TaskWrite,
} from './event-log.ts'
import { copiedKey, feedKey, logKey, onceKey, taskKey, topicKey } from './keys.ts'
import { type Append, AppendBatch, type AppendReply } from './redis-append-batch.ts'

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

/**
 * Appends of one script. To tasks they are few: else all tasks of a worker would wait for the same script, and Redis and
 * the worker for each other in turn.
 */
const MAX_TASK_APPENDS = 4
const MAX_CHANNEL_APPENDS = 32
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
  readonly #reached = new Map<string, { epoch: number; seq: number }>()
  #appended = 0

  /** `redis` stays the caller's: it is neither configured nor closed here. */
  constructor(redis: Redis, retention: EventLogRetention) {
    const append = lua('./append-to-log.lua')
    const appendBatch = append + lua('./append-event.lua') + lua('./append-batch.lua')
    redis.defineCommand('millraceStep', { lua: append + lua('./append-step.lua'), numberOfKeys: 2 })
    redis.defineCommand('millraceReadPage', { lua: lua('./read-page.lua'), numberOfKeys: 1, readOnly: true })
    redis.defineCommand('millraceNewEpoch', { lua: lua('./new-epoch.lua'), numberOfKeys: 1 })
    this.#redis = redis as Redis & ScriptCommands
    this.#toTasks = new AppendBatch(redis, appendBatch, process.nextTick, MAX_TASK_APPENDS)
    this.#toChannels = new AppendBatch(redis, appendBatch, setImmediate, MAX_CHANNEL_APPENDS)
    this.#retention = retention
  }

  /** Events that this process has asked to append: copies and those of tasks among them, but for a task's first. */
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
    const keys = [logKey(channel), taskKey(taskId)]
    const append = this.#append(channel, this.#retention.taskMaxEvents, write.expireMs, events)
    append.task = conditionOf(write)
    const [outcome = '', detail = '', cancel, channels, fields] = await this.#toTasks.append(
      keys,
      append,
      dataOf(events),
    )
    const cancelRequested = cancel === '1'
    switch (outcome) {
      case 'ok': {
        const first = this.#noteReached(channel, detail, events.length)
        if (write.expireMs !== undefined) this.#reached.delete(channel)
        if (channels) await this.#copies.append(taskId, parseChannels(channels), first, events)
        return {
          outcome,
          first,
          cancelRequested,
          ...(fields && { fields: JSON.parse(fields) as TaskFields }),
        }
      }
      case 'repeated':
        return { outcome, lastEventId: detail, cancelRequested }
      case 'fenced':
      case 'refused':
        return { outcome, state: detail }
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
      before,
      after,
      keptMs,
      JSON.stringify(this.#append(channel, maxEvents, ttlMs, events)),
      ...dataOf(events),
    ])
    if (outcome === 'moved') return detail
    this.#noteReached(channel, detail, events.length)
    return null
  }

  #appendToChannel(channel: string, events: readonly NewEvent[], once?: Once): Promise<AppendReply> {
    const { maxEvents, ttlMs } = this.#retention.channels
    const keys = [logKey(channel), ...(once ? [onceKey(channel, once.key)] : [])]
    return this.#toChannels.append(
      keys,
      this.#append(channel, maxEvents, ttlMs, events, once),
      dataOf(events),
    )
  }

  #append(
    channel: string,
    maxEvents: number,
    expireMs: number | undefined,
    events: readonly NewEvent[],
    once?: Once,
  ): Append {
    this.#appended += events.length
    const known = this.#reached.get(channel)
    return {
      topic: topicKey(channel),
      maxEvents,
      expireMs: expireMs || undefined,
      known: known && formatPosition(known),
      events: events.map(({ type, time, format }) => [type, String(time), format]),
      once: once && [once.fingerprint, once.keptMs],
      task: undefined,
    }
  }

  /** Takes the answer to an append; the channel's next one tells Redis how far the log had come. */
  #noteReached(channel: string, firstId: string | undefined, count: number): Position {
    const first = requirePosition(firstId)
    const seq = first.seq + count - 1
    const reached = this.#reached.get(channel)
    if (reached) {
      // Not a new object, which would live until the next append and be moved by the garbage collector until then.
      reached.epoch = first.epoch
      reached.seq = seq
      return first
    }
    this.#reached.set(channel, { epoch: first.epoch, seq })
    for (const oldest of this.#reached.keys()) {
      if (this.#reached.size <= MAX_REACHED) break
      this.#reached.delete(oldest)
    }
    return first
  }
}

function dataOf(events: readonly NewEvent[]): string[] {
  return events.map(({ data }) => data)
}

function conditionOf(task: TaskWrite): Append['task'] {
  const set = task.write === undefined ? [] : ['write', String(task.write)]
  const unset: string[] = []
  for (const field in task.set) {
    const value = task.set[field] ?? null
    if (value === null) unset.push(field)
    else set.push(field, wellFormed(String(value)))
  }
  return {
    from: task.from.join(' '),
    run: task.run,
    write: task.write,
    givesWay: task.unlessCancelled,
    startBy: task.unlessExpired,
    set,
    unset: unset.length > 0 ? unset : undefined,
    answersFields: task.answersFields,
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

function requirePosition(id: string | undefined): Position {
  const position = id === undefined ? null : parsePosition(id)
  if (!position) throw new Error(`not an event id in the log: ${id}`)
  return position
}

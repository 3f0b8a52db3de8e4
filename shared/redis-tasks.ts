// The tasks' records in Redis: create, read, list, forget. Changes of state go through the event log, since
// every one of them is an event.

import type { Redis } from 'ioredis'
import { CallbackQueue } from './callback-queue.ts'
import { taskChannel } from './event.ts'
import { parsePosition } from './event-id.ts'
import type { EventLog, TaskAppend } from './event-log.ts'
import { INDEX_KEY, logKey, OPEN_KEY, taskIdOfMember, taskKey, taskMember } from './keys.ts'
import { isTerminal, type TaskRecord, type TaskState } from './task.ts'
import { createdAtOf, parseTaskFields } from './task-record.ts'
import { staysUntilClosed, type Transition } from './task-transitions.ts'

/** What finds a task in the index. */
export type TaskKey = Pick<TaskRecord, 'id' | 'createdAt'>

/** What closing an ended task takes. */
export type EndedTask = TaskKey & Pick<TaskRecord, 'callbackUrl' | 'channels' | 'retainMs'>

/** A record without what can be large. */
export type TaskHeader = Omit<TaskRecord, 'input' | 'result' | 'progress' | 'error'>

const HEADER_FIELDS = [
  'type',
  'state',
  'fixed',
  'attempt',
  'run',
  'lostRuns',
  'handedBackRun',
  'runToken',
  'runAt',
  'expiresAt',
  'cancel',
  'cancelReason',
  'startedAt',
  'finishedAt',
  'lastEventId',
  'concurrencyKey',
  'channels',
  'scheduleId',
]

/** A record as a list shows it. */
type TaskSummary = Omit<TaskRecord, 'input'>

const SUMMARY_FIELDS = [...HEADER_FIELDS, 'progress', 'result', 'error']

export interface TaskFilter {
  readonly state?: TaskState | undefined
  readonly type?: string | undefined
  readonly scheduleId?: string | undefined
  readonly concurrencyKey?: string | undefined
}

const FILTERS = ['state', 'type', 'scheduleId', 'concurrencyKey'] as const

export interface TaskPage {
  readonly tasks: TaskSummary[]
  /** Goes into the next call's `after`; null at the end. */
  readonly next: string | null
}

/** Index entries that one call of `list` reads at most, so that a rare filter can't scan everything. */
const MAX_SCAN = 5_000
const SCAN_STEP = 500

/** Records of a page are read this many at a time, until what was read has this many characters. */
const LOAD_STEP = 10
const MAX_PAGE_CHARS = 4 * 1024 * 1024

export class TaskStore {
  readonly #redis: Redis
  readonly callbacks: CallbackQueue
  readonly log: EventLog

  constructor(redis: Redis, log: EventLog) {
    this.#redis = redis
    this.callbacks = new CallbackQueue(redis)
    this.log = log
  }

  /** Carries out a transition; see {@link TaskAppend} for what can come of it. */
  async apply(taskId: string, { event, write }: Transition): Promise<TaskAppend> {
    return this.log.appendToTask(taskId, [event], write)
  }

  /** Brings a task's copies in other channels up to its last event. Answers whether nothing is missing. */
  async copyEvents({ id, channels }: Pick<TaskRecord, 'id' | 'channels'>): Promise<boolean> {
    if (channels.length === 0) return true
    const task = await this.loadState(id)
    return !task || this.log.copyEvents(id, channels, task.lastEventId)
  }

  async load(taskId: string): Promise<TaskRecord | null> {
    return parseTaskFields(await this.#redis.hgetall(taskKey(taskId)))
  }

  /** State and last event alone: cheaper than the record, which holds input and result. */
  async loadState(taskId: string): Promise<{ state: TaskState; lastEventId: string } | null> {
    const [state, lastEventId] = await this.#redis.hmget(taskKey(taskId), 'state', 'lastEventId')
    return state && lastEventId ? { state: state as TaskState, lastEventId } : null
  }

  /** When each of the tasks was created, in ms since 1970; null where there is none. */
  async loadTimes(taskIds: readonly string[]): Promise<(number | null)[]> {
    const pipeline = this.#redis.pipeline()
    for (const id of taskIds) pipeline.hget(taskKey(id), 'fixed')
    return ((await pipeline.exec()) ?? []).map(([error, fixed]) => {
      if (error) throw error
      return typeof fixed === 'string' ? createdAtOf(fixed) : null
    })
  }

  /** Records without their large parts, in the order asked; null where there is none. */
  async loadHeaders(taskIds: readonly string[]): Promise<(TaskHeader | null)[]> {
    return (await this.#loadFields(taskIds, HEADER_FIELDS)).records
  }

  /** Those of the tasks that somebody has asked to cancel. */
  async cancelRequested(taskIds: readonly string[]): Promise<string[]> {
    const pipeline = this.#redis.pipeline()
    for (const id of taskIds) pipeline.hget(taskKey(id), 'cancel')
    const replies = (await pipeline.exec()) ?? []
    return taskIds.filter((_, i) => replies[i]?.[1] === '1')
  }

  /**
   * What follows the end of tasks, however often: their callbacks are queued, their copies completed, and they need no
   * more watching. Until
   * this is done a task stays among the open ones, where the reconciler finds it.
   */
  async close(tasks: readonly EndedTask[]): Promise<void> {
    const done: string[] = []
    for (const task of tasks) {
      await this.#queueCallback(task)
      if (!(await this.copyEvents(task))) continue
      if (staysUntilClosed(task)) await this.#expire(task)
      done.push(taskMember(task))
    }
    if (done.length > 0) await this.#redis.zrem(OPEN_KEY, ...done)
  }

  /** Notes that a worker gave a run back in good order, so that the next run does not count it as lost. */
  async markHandedBack(taskId: string, run: number): Promise<void> {
    await this.#redis.hset(taskKey(taskId), 'handedBackRun', run)
  }

  /** Undoes a submission that could not be queued. */
  async forget(task: TaskKey): Promise<void> {
    await this.#redis.del(taskKey(task.id), logKey(taskChannel(task.id)))
    const member = taskMember(task)
    await Promise.all([this.#redis.zrem(OPEN_KEY, member), this.#redis.zrem(INDEX_KEY, member)])
  }

  /**
   * Newest first. A page may hold fewer tasks than `limit` and still have a `next`, since a call reads a
   * bounded number of entries and of characters.
   */
  async list(filter: TaskFilter, limit: number, after: string | null): Promise<TaskPage> {
    const tasks: TaskSummary[] = []
    let room = MAX_PAGE_CHARS
    let last = after
    for (let scanned = 0; scanned < MAX_SCAN; ) {
      // Where all are wanted, one more than a page says whether there is a next one.
      const all = FILTERS.every(name => filter[name] === undefined)
      const count = scanned === 0 && all ? limit + 1 : SCAN_STEP
      const members = await this.#indexAfter(last, count)
      scanned += members.length
      const matching = await this.#matching(members, filter)
      const end = members.length < count ? members.at(-1) : undefined
      const nextAfter = (member: string | undefined) => (member === end ? null : (member ?? null))
      for (let i = 0; i < matching.length; ) {
        const step = matching.slice(i, Math.min(i + LOAD_STEP, i + limit - tasks.length))
        i += step.length
        const { records, chars } = await this.#loadFields(step.map(taskIdOfMember), SUMMARY_FIELDS)
        tasks.push(...records.filter(task => task !== null))
        room -= chars
        if (tasks.length >= limit || room <= 0) return { tasks, next: nextAfter(step.at(-1)) }
      }
      if (members.length < count) return { tasks, next: null }
      last = members.at(-1) ?? null
    }
    return { tasks, next: last }
  }

  async #queueCallback({ id: taskId, callbackUrl: url }: EndedTask): Promise<void> {
    if (url === null) return
    const task = await this.loadState(taskId)
    const end = task && isTerminal(task.state) && parsePosition(task.lastEventId)
    if (!end) return
    const before = { epoch: end.epoch, seq: end.seq - 1 }
    const page = await this.log.readPage(taskChannel(taskId), before, { maxEvents: 1, maxBytes: 1 })
    const [event] = page.events
    if (event) await this.callbacks.add({ taskId, url, event })
  }

  async #expire({ id, retainMs }: EndedTask): Promise<void> {
    const keys = [taskKey(id), logKey(taskChannel(id))]
    await Promise.all(keys.map(key => this.#redis.pexpire(key, retainMs)))
  }

  /** Those of the entries that have a task which the filter lets through. */
  async #matching(members: readonly string[], filter: TaskFilter): Promise<readonly string[]> {
    const names = FILTERS.filter(name => filter[name] !== undefined)
    const pipeline = this.#redis.pipeline()
    for (const member of members) pipeline.hmget(taskKey(taskIdOfMember(member)), 'fixed', ...names)
    const replies = (await pipeline.exec()) ?? []
    return members.filter((_, i) => {
      const [error, values] = replies[i] ?? []
      if (error) throw error
      const [fixed, ...fields] = values as (string | null)[]
      return fixed !== null && names.every((name, field) => fields[field] === filter[name])
    })
  }

  async #indexAfter(member: string | null, count: number): Promise<string[]> {
    const from = member === null ? '+' : `(${member}`
    return this.#redis.zrange(INDEX_KEY, from, '-', 'BYLEX', 'REV', 'LIMIT', 0, count)
  }

  async #loadFields(taskIds: readonly string[], names: string[]) {
    const pipeline = this.#redis.pipeline()
    for (const id of taskIds) pipeline.hmget(taskKey(id), ...names)
    let chars = 0
    const records = ((await pipeline.exec()) ?? []).map(([error, values]) => {
      if (error) throw error
      const fields = names
        .map((name, i) => [name, (values as (string | null)[])[i]] as const)
        .filter(isPresent)
      for (const [, value] of fields) chars += value.length
      return parseTaskFields(Object.fromEntries(fields))
    })
    return { records, chars }
  }
}

function isPresent(entry: readonly [string, string | null | undefined]): entry is readonly [string, string] {
  return entry[1] !== null && entry[1] !== undefined
}

// Appends to tasks' logs, each with what it changes of the task's state.

import { toUSVString as wellFormed } from 'node:util'
import type { Redis } from 'ioredis'
import { type NewEvent, taskChannel } from './event.ts'
import { type EventCopies, parseChannels } from './event-copies.ts'
import type { TaskAppend, TaskFields, TaskWrite } from './event-log.ts'
import { logKey, taskKey } from './keys.ts'
import { dataOf, type OwnAppends, type TaskCondition } from './own-appends.ts'
import { AppendBatch, type AppendReply, type ScriptAppend } from './redis-append-batch.ts'

/**
 * Appends of one script. They are few: else all tasks of a worker would wait for the same script, and Redis and the
 * worker for each other in turn.
 */
const MAX_TASK_APPENDS = 4

export class TaskLog {
  readonly #batch: AppendBatch
  readonly #maxEvents: number
  readonly #own: OwnAppends
  readonly #copies: EventCopies

  /** `redis` stays the caller's. `maxEvents` of a task; its log has no idle expiry: it goes with the task. */
  constructor(redis: Redis, maxEvents: number, own: OwnAppends, copies: EventCopies) {
    // A worker hears of many tasks in one answer, and what it sends after an append has to go after it.
    this.#batch = new AppendBatch(redis, process.nextTick, MAX_TASK_APPENDS)
    this.#maxEvents = maxEvents
    this.#own = own
    this.#copies = copies
  }

  async append(taskId: string, events: readonly NewEvent[], write: TaskWrite): Promise<TaskAppend> {
    const reply = await this.#batch.append(this.prepare(taskId, events, write))
    return this.answered(taskId, events, write, reply)
  }

  /** An append as append-event.lua takes it. */
  prepare(taskId: string, events: readonly NewEvent[], write: TaskWrite): ScriptAppend {
    const channel = taskChannel(taskId)
    const append = this.#own.make(channel, { maxEvents: this.#maxEvents, expireMs: write.expireMs }, events)
    append.task = conditionOf(write)
    return {
      keys: [logKey(channel), taskKey(taskId)],
      append: JSON.stringify(append),
      data: dataOf(events),
    }
  }

  /** What append-event.lua's answer says. Resolves when the events are in the channels that they are copied to as well. */
  async answered(
    taskId: string,
    events: readonly NewEvent[],
    { expireMs }: TaskWrite,
    [outcome = '', detail = '', cancel, channels, fields]: AppendReply,
  ): Promise<TaskAppend> {
    const channel = taskChannel(taskId)
    const cancelRequested = cancel === '1'
    switch (outcome) {
      case 'ok': {
        const first = this.#own.reached(channel, detail, events.length)
        if (expireMs !== undefined) this.#own.forget(channel)
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
}

function conditionOf(task: TaskWrite): TaskCondition {
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

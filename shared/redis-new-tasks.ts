// Takes tasks into Redis, many by one command, since a command costs more than what it does for a task. The one caller
// of begin-tasks.lua.

import { readFileSync } from 'node:fs'
import { type Redis, ReplyError } from 'ioredis'
import { type NewEvent, taskChannel } from './event.ts'
import type { Once } from './event-log.ts'
import { jobIdOf } from './job-id.ts'
import { INDEX_KEY, logKey, OPEN_KEY, onceKey, queueKey, taskKey, taskMember, topicKey } from './keys.ts'
import { APPEND_EVENT } from './redis-append-batch.ts'

/** A task that is to begin. */
export interface NewTask {
  readonly taskId: string
  /** The first of its log; its time is when the task is created. */
  readonly event: NewEvent
  /** Of its state. */
  readonly fields: Readonly<Record<string, string | number>>
  /** Name of the job with which it is queued at once; null where more is to be decided first. */
  readonly jobName: string | null
  /** Comes before the condition that it does not exist yet: what was done is not refused because it was done. */
  readonly once?: Once | undefined
}

/** What comes of beginning a task; `exists` and `reused` changed nothing. */
export type TaskBegin =
  | { outcome: 'ok' | 'repeated'; firstId: string }
  | { outcome: 'exists' }
  /** The key of {@link NewTask.once} stands for another one. */
  | { outcome: 'reused' }

interface BeginCommand {
  /** Arguments as one array: ioredis copies those that are spread several times. */
  millraceBeginTasks(
    numberOfKeys: number,
    args: (string | number)[],
  ): Promise<[outcome: string, detail: string][]>
}

const SHARED_KEYS = [OPEN_KEY, INDEX_KEY, ...['wait', 'meta', 'id', 'active', 'marker'].map(queueKey)]

/** Of one script, which nothing interrupts. A task that is longer goes by itself. */
const MAX_TASKS = 32
const MAX_CHARS = 64 * 1024

export class NewTasks {
  readonly #redis: Redis & BeginCommand

  /** `redis` stays the caller's. */
  constructor(redis: Redis) {
    const lua = readFileSync(new URL('./begin-tasks.lua', import.meta.url), 'utf8')
    redis.defineCommand('millraceBeginTasks', { lua: APPEND_EVENT + lua })
    this.#redis = redis as Redis & BeginCommand
  }

  /**
   * Records, lists and, where asked, queues tasks that do not exist yet; each of them wholly or not at all. Answers for
   * each what came of it, or the error that it met. Never rejects.
   */
  async begin(tasks: readonly NewTask[]): Promise<(TaskBegin | Error)[]> {
    const sent: Promise<(TaskBegin | Error)[]>[] = []
    for (let from = 0; from < tasks.length; ) {
      const together = beginning(tasks, from)
      sent.push(this.#beginTogether(together))
      from += together.length
    }
    return (await Promise.all(sent)).flat()
  }

  async #beginTogether(tasks: readonly NewTask[]): Promise<(TaskBegin | Error)[]> {
    const keys = [...SHARED_KEYS]
    const args: (string | number)[] = []
    for (const { taskId, event, fields, jobName, once } of tasks) {
      const channel = taskChannel(taskId)
      const jobId = jobIdOf(taskId)
      keys.push(logKey(channel), taskKey(taskId), queueKey(jobId))
      if (once) keys.push(onceKey(channel, once.key))
      args.push(taskMember({ id: taskId, createdAt: event.time }))
      args.push(jobName === null ? '' : jobId, jobName ?? '')
      args.push(once?.fingerprint ?? '', once?.keptMs ?? '')
      args.push(topicKey(channel), event.type, event.time, event.data)
      const size = args.push(0)
      for (const name in fields) args.push(name, fields[name]!)
      args[size - 1] = args.length - size
    }
    try {
      const replies = await this.#redis.millraceBeginTasks(keys.length, [...keys, ...args])
      return tasks.map((_, i) => toBegin(replies[i] ?? ['', '']))
    } catch (error) {
      return tasks.map(() => error as Error)
    }
  }
}

/** As many of the tasks, from one of them on, as go into one script. */
function beginning(tasks: readonly NewTask[], from: number): readonly NewTask[] {
  let to = from
  for (let chars = 0; to < tasks.length && to - from < MAX_TASKS; to++) {
    chars += charsOf(tasks[to]!)
    if (chars > MAX_CHARS && to > from) break
  }
  return tasks.slice(from, to)
}

function charsOf({ fields }: NewTask): number {
  let chars = 0
  for (const name in fields) chars += String(fields[name]).length
  return chars
}

function toBegin([outcome, detail]: [outcome: string, detail: string]): TaskBegin | Error {
  switch (outcome) {
    case 'ok':
    case 'repeated':
      return { outcome, firstId: detail }
    case 'exists':
    case 'reused':
      return { outcome }
    case 'failed':
      return new ReplyError(detail)
    default:
      return new Error(`begin-tasks.lua answered ${outcome}`)
  }
}

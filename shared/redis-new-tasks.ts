// Begins tasks in Redis, many by one command, since a command costs more than what it does for a task. The one caller
// of begin-tasks.lua.

import { type Redis, ReplyError } from 'ioredis'
import { taskChannel } from './event.ts'
import type { NewTask, TaskBegin } from './event-log.ts'
import { logKey, onceKey, taskKey, topicKey } from './keys.ts'

interface BeginCommand {
  /** Arguments as one array: ioredis copies those that are spread several times. */
  millraceBeginTasks(
    numberOfKeys: number,
    args: (string | number)[],
  ): Promise<[outcome: string, detail: string][]>
}

/** Of one script, which nothing interrupts. A task that is longer goes by itself. */
const MAX_TASKS = 32
const MAX_CHARS = 64 * 1024

export class NewTasks {
  readonly #redis: Redis & BeginCommand
  readonly #maxEvents: number

  /** `lua` is the text of begin-tasks.lua and what it needs; `maxEvents` are kept of each task. */
  constructor(redis: Redis, lua: string, maxEvents: number) {
    redis.defineCommand('millraceBeginTasks', { lua })
    this.#redis = redis as Redis & BeginCommand
    this.#maxEvents = maxEvents
  }

  /** Answers for each what came of it, or the error that it met. Never rejects. */
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
    const keys: string[] = []
    const args: (string | number)[] = [this.#maxEvents]
    for (const { taskId, event, fields, once } of tasks) {
      const channel = taskChannel(taskId)
      keys.push(logKey(channel), taskKey(taskId))
      if (once) keys.push(onceKey(channel, once.key))
      args.push(topicKey(channel), event.type, event.time, event.data)
      args.push(once?.fingerprint ?? '', once?.keptMs ?? '')
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

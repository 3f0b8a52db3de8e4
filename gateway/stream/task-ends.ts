// What the records of tasks say about the channels of a stream: which tasks have ended, and how they stand.

import { MillraceError } from '../../shared/errors.ts'
import { taskOfChannel } from '../../shared/event.ts'
import { type Position, parsePosition } from '../../shared/event-id.ts'
import type { TaskStore } from '../../shared/redis-tasks.ts'
import { isTerminal, viewTask } from '../../shared/task.ts'

/** The ends of those tasks among some channels that have ended, by channel. */
export type Ends = ReadonlyMap<string, Position>

export class TaskEnds {
  readonly #tasks: TaskStore

  constructor(tasks: TaskStore) {
    this.#tasks = tasks
  }

  /** Throws `task-not-found` for a channel whose task there is not, unless it is one of several (`isOfSeveral`). */
  async among(channels: readonly string[], isOfSeveral: boolean): Promise<Ends> {
    const ends = new Map<string, Position>()
    await Promise.all(
      channels.map(async channel => {
        const taskId = taskOfChannel(channel)
        if (taskId === null) return
        const task = await this.#tasks.loadState(taskId)
        if (!task && !isOfSeveral) throw new MillraceError('task-not-found', `there is no task ${taskId}`)
        const end = task && isTerminal(task.state) && parsePosition(task.lastEventId)
        if (end) ends.set(channel, end)
      }),
    )
    return ends
  }

  /** The terminal event of a channel's task, if that has ended. */
  async of(channel: string): Promise<Position | null> {
    return (await this.among([channel], true)).get(channel) ?? null
  }

  /** The task of a channel as callers see it. */
  async snapshot(channel: string): Promise<object | null> {
    const taskId = taskOfChannel(channel)
    const task = taskId === null ? null : await this.#tasks.load(taskId)
    return task && viewTask(task)
  }
}

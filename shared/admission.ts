// Which tasks may be in the queue or run: all that have no concurrency key, and those that have got a slot of theirs.
// A task without room waits outside the queue, where it is in nobody's way, until another one of its key makes room.

import type { Queue } from 'bullmq'
import type { Redis } from 'ioredis'
import { addJob, type QueuedJob } from './queue-jobs.ts'
import { ConcurrencyKeys, type KeyedTask } from './redis-concurrency-keys.ts'
import type { TaskStore } from './redis-tasks.ts'
import { isTerminal, type TaskRequest } from './task.ts'

/** A task as far as its concurrency key goes, and as far as the queue goes. */
type Place = Pick<TaskRequest, 'id' | 'concurrencyKey' | 'concurrencyLimit'>
export type QueuedTask = Place & QueuedJob

export class Admission {
  readonly #keys: ConcurrencyKeys
  readonly #tasks: TaskStore
  readonly #queue: Queue

  /** `redis` and `queue` stay the caller's. */
  constructor(redis: Redis, tasks: TaskStore, queue: Queue) {
    this.#keys = new ConcurrencyKeys(redis)
    this.#tasks = tasks
    this.#queue = queue
  }

  /**
   * Puts a task into the queue, or holds it back where its key has no room. A delayed task goes there at once and needs
   * room when its time has come.
   */
  async enqueue(task: QueuedTask): Promise<void> {
    const place = task.delayMs > 0 ? null : keyed(task)
    if (!place) return addJob(this.#queue, task)
    const { hasSlot, next } = await this.#keys.queue(place, task.priority)
    // Nothing, itself, or another one of its key.
    await this.#add([...(hasSlot ? [task] : []), ...(await this.#letGo(place, next))])
  }

  /** Whether a worker may begin a task that it was given: false when its key has no room. */
  async begin(task: Place): Promise<boolean> {
    const place = keyed(task)
    if (!place) return true
    const { hasSlot, next } = await this.#keys.begin(place)
    await this.#add(await this.#letGo(place, next))
    return hasSlot
  }

  /** Gives a task's room to the next one of its key, since it has ended or waits for its time. May be done again. */
  async makeRoom(task: Place): Promise<void> {
    const place = keyed(task)
    if (!place) return
    const { next } = await this.#keys.end(place)
    await this.#add(await this.#letGo(place, next))
  }

  /** Makes room where tasks of a key have ended and nobody came to say so. */
  async clearSlots(key: string): Promise<void> {
    const ids = await this.#keys.holders(key)
    const headers = await this.#tasks.loadHeaders(ids)
    const gone = ids.filter((_, i) => isTerminal(headers[i]?.state ?? 'completed'))
    for (const id of gone) await this.makeRoom({ id, concurrencyKey: key })
  }

  /** Those of the tasks that are held back. */
  heldBack(taskIds: readonly string[]): Promise<Set<string>> {
    return this.#keys.heldBack(taskIds)
  }

  /** How many tasks are held back. */
  countHeldBack(): Promise<number> {
    return this.#keys.countHeldBack()
  }

  async #add(tasks: readonly QueuedTask[]): Promise<void> {
    await Promise.all(tasks.map(task => addJob(this.#queue, task)))
  }

  /** The task that has just got a slot; where it has ended meanwhile, the one that gets the slot in its place. */
  async #letGo({ concurrencyKey }: KeyedTask, taskId: string | null): Promise<QueuedTask[]> {
    // Each round takes one out of line.
    for (let next = taskId; next !== null; ) {
      const [task] = await this.#tasks.loadHeaders([next])
      if (task && !isTerminal(task.state)) return [{ ...task, delayMs: 0 }]
      const step = await this.#keys.end({ id: next, concurrencyKey })
      next = step.next
    }
    return []
  }
}

function keyed({ id, concurrencyKey, concurrencyLimit = null }: Place): KeyedTask | null {
  return concurrencyKey == null ? null : { id, concurrencyKey, concurrencyLimit }
}

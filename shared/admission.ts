// Which tasks may be in the queue or run: all that have no concurrency key, and those that have got a slot of theirs.
// A task without room waits outside the queue, where it is in nobody's way, until another one of its key makes room.

import type { Redis } from 'ioredis'
import type { QueuedJob, QueueJobs } from './queue-jobs.ts'
import { ConcurrencyKeys, type KeyedTask } from './redis-concurrency-keys.ts'
import type { TaskStore } from './redis-tasks.ts'
import { isTerminal, type TaskRequest } from './task.ts'

/** A task as far as its concurrency key goes, and as far as the queue goes. */
type Place = Pick<TaskRequest, 'id' | 'concurrencyKey' | 'concurrencyLimit'>
export type QueuedTask = Place & QueuedJob

export class Admission {
  readonly #keys: ConcurrencyKeys
  readonly #tasks: TaskStore
  readonly #jobs: QueueJobs

  /** `redis` stays the caller's. */
  constructor(redis: Redis, tasks: TaskStore, jobs: QueueJobs) {
    this.#keys = new ConcurrencyKeys(redis)
    this.#tasks = tasks
    this.#jobs = jobs
  }

  /**
   * Puts tasks into the queue, or holds them back where their keys have no room. A delayed task goes there at once and
   * needs room when its time has come. Answers for each null, or the error that it met. Never rejects.
   */
  async enqueue(tasks: readonly QueuedTask[]): Promise<(Error | null)[]> {
    const outcomes: (Error | null)[] = new Array(tasks.length).fill(null)
    const free: number[] = []
    const linedUp: Promise<void>[] = []
    for (const [i, task] of tasks.entries()) {
      const place = task.delayMs > 0 ? null : keyed(task)
      if (!place) free.push(i)
      else
        linedUp.push(
          this.#lineUp(task, place).catch((error: Error) => {
            outcomes[i] = error
          }),
        )
    }
    const errors = await this.#jobs.add(free.map(i => tasks[i]!))
    for (const [n, i] of free.entries()) outcomes[i] = errors[n] ?? null
    await Promise.all(linedUp)
    return outcomes
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

  /** Puts into the queue what may go there when this task wants to: itself, another one of its key, or nothing. */
  async #lineUp(task: QueuedTask, place: KeyedTask): Promise<void> {
    const { hasSlot, next } = await this.#keys.queue(place, task.priority)
    await this.#add([...(hasSlot ? [task] : []), ...(await this.#letGo(place, next))])
  }

  async #add(tasks: readonly QueuedTask[]): Promise<void> {
    const error = (await this.#jobs.add(tasks)).find(error => error !== null)
    if (error) throw error
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

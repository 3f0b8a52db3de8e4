// The tasks of concurrency keys: which may be in the queue or run, and which are held back until another one of their
// key is done. The one caller of concurrency-key.lua.

import { readFileSync } from 'node:fs'
import type { Redis } from 'ioredis'
import { HELD_COUNTER_KEY, HELD_KEY, heldOfKey, KEYS_IN_USE_KEY, slotsOfKey } from './keys.ts'
import type { TaskRequest } from './task.ts'

/** A task as far as its key goes. */
export type KeyedTask = Pick<TaskRequest, 'id' | 'concurrencyLimit'> & { readonly concurrencyKey: string }

/** What has to become of tasks after a step of one of them. */
export interface Step {
  /** Whether the task has a slot, so that it may be in the queue, or run. */
  readonly hasSlot: boolean
  /** Another task of the key that has a slot and has to be put into the queue, if it is not there yet. */
  readonly next: string | null
}

interface ScriptCommands {
  millraceConcurrencyKey(...args: (string | number)[]): Promise<[hasSlot: string, next: string]>
}

export class ConcurrencyKeys {
  readonly #redis: Redis & ScriptCommands

  /** `redis` stays the caller's. */
  constructor(redis: Redis) {
    const lua = readFileSync(new URL('./concurrency-key.lua', import.meta.url), 'utf8')
    redis.defineCommand('millraceConcurrencyKey', { lua, numberOfKeys: 5 })
    this.#redis = redis as Redis & ScriptCommands
  }

  /** The task wants to go to the queue; without a slot it is held back, behind those of a lower or the same priority. */
  queue(task: KeyedTask, priority: number): Promise<Step> {
    return this.#step('queue', task, priority)
  }

  /** A worker begins the task, which may come without a slot after a delay; without one it is not held back either. */
  begin(task: KeyedTask): Promise<Step> {
    return this.#step('begin', task)
  }

  /** The task has ended, or waits for its time. */
  end(task: KeyedTask): Promise<Step> {
    return this.#step('end', task)
  }

  /** Those of the tasks that are held back. */
  async heldBack(taskIds: readonly string[]): Promise<Set<string>> {
    if (taskIds.length === 0) return new Set()
    const answers = await this.#redis.smismember(HELD_KEY, ...taskIds)
    return new Set(taskIds.filter((_, i) => answers[i] === 1))
  }

  /** How many tasks are held back. */
  countHeldBack(): Promise<number> {
    return this.#redis.scard(HELD_KEY)
  }

  /** The tasks that have a slot: as many as the key's limit at most. */
  holders(key: string): Promise<string[]> {
    return this.#redis.zrange(slotsOfKey(key), '0', '-1')
  }

  async #step(step: string, task: KeyedTask, priority = 0): Promise<Step> {
    const { id, concurrencyKey: key, concurrencyLimit } = task
    const [hasSlot, next] = await this.#redis.millraceConcurrencyKey(
      slotsOfKey(key),
      heldOfKey(key),
      HELD_KEY,
      KEYS_IN_USE_KEY,
      HELD_COUNTER_KEY,
      step,
      key,
      id,
      concurrencyLimit ?? 1,
      priority,
    )
    return { hasSlot: hasSlot === '1', next: next === '' ? null : next }
  }
}

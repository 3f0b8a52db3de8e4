// The task types that workers have announced, as this gateway last read them.

import type { Redis } from 'ioredis'
import { readTaskTypes, type TaskType } from '../shared/task-types.ts'

/** A type that was announced anew, with another schema, is used after this long at the latest. */
const MAX_AGE_MS = 3_000

export class TaskTypeCache {
  readonly #redis: Redis
  #types: readonly TaskType[] = []
  #readAt = Number.NEGATIVE_INFINITY
  #reading: Promise<readonly TaskType[]> | null = null

  constructor(redis: Redis) {
    this.#redis = redis
  }

  /** A type by its name, where it was read lately. */
  known(name: string): TaskType | undefined {
    return Date.now() - this.#readAt < MAX_AGE_MS ? this.#types.find(({ type }) => type === name) : undefined
  }

  /** Every type, read anew; those who ask at the same time share one read. */
  list(): Promise<readonly TaskType[]> {
    this.#reading ??= this.#read().finally(() => {
      this.#reading = null
    })
    return this.#reading
  }

  async #read(): Promise<readonly TaskType[]> {
    this.#types = await readTaskTypes(this.#redis)
    this.#readAt = Date.now()
    return this.#types
  }
}

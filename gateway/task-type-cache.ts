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

  /** A type by its name; null when no worker has announced it. A type not known here is looked up at once. */
  async find(name: string): Promise<TaskType | null> {
    const isNamed = ({ type }: TaskType) => type === name
    const known = Date.now() - this.#readAt < MAX_AGE_MS ? this.#types.find(isNamed) : undefined
    return known ?? (await this.list()).find(isNamed) ?? null
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

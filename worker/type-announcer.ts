// Announces this worker's task types, again and again, so that gateways know them as long as it lives.

import type { Redis } from 'ioredis'
import type { Logger } from '../shared/log.ts'
import { ANNOUNCE_INTERVAL_MS, announceTaskTypes, type TaskType } from '../shared/task-types.ts'

export class TypeAnnouncer {
  readonly #redis: Redis
  readonly #types: readonly TaskType[]
  readonly #log: Logger
  #timer: NodeJS.Timeout | undefined
  #announcing = false

  constructor(redis: Redis, types: readonly TaskType[], log: Logger) {
    this.#redis = redis
    this.#types = types
    this.#log = log
  }

  /** Resolves after the first announcement; while Redis is away that waits for it. */
  async start(): Promise<void> {
    this.#timer = setInterval(() => void this.#announce(), ANNOUNCE_INTERVAL_MS)
    await this.#announce()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  async #announce(): Promise<void> {
    if (this.#announcing) return
    this.#announcing = true
    try {
      await announceTaskTypes(this.#redis, this.#types)
    } catch (error) {
      this.#log.warn({ err: error }, 'the task types could not be announced')
    } finally {
      this.#announcing = false
    }
  }
}

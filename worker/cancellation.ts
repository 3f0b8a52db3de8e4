// Brings cancellations to the runs of this worker: by a message, and, since messages can be lost, by a look at
// the tasks' records every few seconds.

import type { Redis } from 'ioredis'
import { CANCEL_TOPIC } from '../shared/keys.ts'
import type { Logger } from '../shared/log.ts'
import type { TaskStore } from '../shared/redis-tasks.ts'
import type { TaskRuns } from './task-run.ts'

const CHECK_INTERVAL_MS = 3_000

export class Cancellation {
  readonly #subscriber: Redis
  readonly #tasks: TaskStore
  readonly #runs: TaskRuns
  readonly #log: Logger
  #timer: NodeJS.Timeout | undefined
  #checking = false

  /** `subscriber`: a connection for this alone, which does not resubscribe by itself; it is closed here. */
  constructor(subscriber: Redis, tasks: TaskStore, runs: TaskRuns, log: Logger) {
    this.#subscriber = subscriber
    this.#tasks = tasks
    this.#runs = runs
    this.#log = log
  }

  start(): void {
    this.#subscriber.on('message', (_topic: string, taskId: string) =>
      this.#runs.get(taskId)?.stop('cancelled'),
    )
    this.#subscriber.on('ready', () => void this.#subscribe())
    if (this.#subscriber.status === 'ready') void this.#subscribe()
    this.#timer = setInterval(() => void this.#check(), CHECK_INTERVAL_MS)
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#subscriber.disconnect()
  }

  async #subscribe(): Promise<void> {
    try {
      await this.#subscriber.subscribe(CANCEL_TOPIC)
    } catch (error) {
      // The connection broke again; its next `ready` tries anew, and until then the records are looked at.
      this.#log.debug({ err: error }, 'could not subscribe to cancellations')
    }
  }

  // While Redis is away a look waits for it, and no second one is begun.
  async #check(): Promise<void> {
    const runs = this.#runs.all()
    if (this.#checking || runs.length === 0) return
    this.#checking = true
    try {
      for (const id of await this.#tasks.cancelRequested(runs.map(run => run.taskId)))
        this.#runs.get(id)?.stop('cancelled')
    } catch (error) {
      this.#log.warn({ err: error }, 'could not look for cancellations')
    } finally {
      this.#checking = false
    }
  }
}

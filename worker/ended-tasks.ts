// Closes ended tasks, many at a time: nothing waits for it. Those that a worker does not come to are closed by the
// reconciler.

import type { Logger } from '../shared/log.ts'
import type { EndedTask, TaskStore } from '../shared/redis-tasks.ts'

/** How long the first one of a batch waits for others. */
const GATHER_MS = 20
/** Past this they go at once. */
const MAX_GATHERED = 500

export class EndedTasks {
  readonly #tasks: TaskStore
  readonly #log: Logger
  #gathered: EndedTask[] = []
  #timer: NodeJS.Timeout | undefined
  #closing: Promise<void> = Promise.resolve()

  constructor(tasks: TaskStore, log: Logger) {
    this.#tasks = tasks
    this.#log = log
  }

  add({ id, createdAt, callbackUrl, channels, retainMs }: EndedTask): void {
    this.#gathered.push({ id, createdAt, callbackUrl, channels, retainMs })
    if (this.#gathered.length >= MAX_GATHERED) this.#flush()
    else this.#timer ??= setTimeout(() => this.#flush(), GATHER_MS)
  }

  /** Resolves when all are out. */
  async stop(): Promise<void> {
    this.#flush()
    await this.#closing
  }

  #flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const tasks = this.#gathered.splice(0)
    if (tasks.length === 0) return
    this.#closing = Promise.all([this.#closing, this.#tasks.close(tasks)]).then(
      () => undefined,
      error => this.#log.debug({ err: error }, 'ended tasks are left to the reconciler'),
    )
  }
}

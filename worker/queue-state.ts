// How much waits in the queue and for how long: for the metrics and for liveness. Read at most once a second.

import { withTimeout } from '../shared/redis-connection.ts'
import type { TaskHeader, TaskStore } from '../shared/redis-tasks.ts'
import { isTerminal } from '../shared/task.ts'
import type { QueueCounts, TaskQueue } from '../shared/task-queue.ts'

const CACHE_MS = 1_000
const TIMEOUT_MS = 1_000
const SAMPLE = 5

export interface QueueSnapshot {
  readonly counts: QueueCounts
  /** How long the oldest of the waiting tasks has been due; 0 when none waits. */
  readonly oldestMs: number
}

export class QueueState {
  readonly #queue: TaskQueue
  readonly #tasks: TaskStore
  readonly #isConnected: () => boolean
  #last: Promise<QueueSnapshot | null> = Promise.resolve(null)
  #readAt = Number.NEGATIVE_INFINITY

  constructor(queue: TaskQueue, tasks: TaskStore, isConnected: () => boolean) {
    this.#queue = queue
    this.#tasks = tasks
    this.#isConnected = isConnected
  }

  /** Null while Redis is away or slower than a second. */
  read(): Promise<QueueSnapshot | null> {
    if (performance.now() - this.#readAt >= CACHE_MS) {
      this.#readAt = performance.now()
      // While Redis is away a command would wait for it, and more of them with every read.
      this.#last = this.#isConnected()
        ? withTimeout(this.#read(), TIMEOUT_MS).catch(() => null)
        : Promise.resolve(null)
    }
    return this.#last
  }

  async #read(): Promise<QueueSnapshot> {
    const counts = await this.#queue.counts()
    const waiting = counts.queued === 0 ? [] : await this.#queue.sampleWaiting(SAMPLE)
    const [headers, queuedAt] = await Promise.all([
      this.#tasks.loadHeaders(waiting),
      this.#queue.queuedAt(waiting),
    ])
    const since = headers.map((task, i) => waitingSince(task, queuedAt[i] ?? null))
    const oldest = Math.min(...since.filter(time => time !== null))
    return { counts, oldestMs: Number.isFinite(oldest) ? Math.max(Date.now() - oldest, 0) : 0 }
  }
}

// A task whose run was lost or given back waits too, but is next in line and has no time to count from. While a task
// is held back by its concurrency key, no further worker would help it.
function waitingSince(task: TaskHeader | null, queuedAt: number | null): number | null {
  if (!task || isTerminal(task.state)) return null
  const dueAt = task.runAt ?? (task.startedAt === null ? task.createdAt : null)
  return dueAt === null || task.concurrencyKey === null ? dueAt : Math.max(dueAt, queuedAt ?? dueAt)
}

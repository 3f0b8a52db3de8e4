// Renews the locks of the jobs that run here and tells a run when its lock is lost. BullMQ's own renewal keeps
// one entry a job: when a run that lost its lock settles after the next run of the same job has begun on the
// same worker, that entry is dropped and the new run loses its lock as well.

import type { Logger } from '../shared/log.ts'
import type { TaskRuns } from './task-run.ts'

/** A lock that is not renewed for this long is lost: its worker is taken for dead. */
export const LOCK_MS = 8_000
const RENEW_MS = LOCK_MS / 4

/** Renews the locks of tasks' jobs for `durationMs`; answers the tasks whose lock is not (or no longer) that token's. */
export type RenewLocks = (taskIds: string[], tokens: string[], durationMs: number) => Promise<string[]>

export class LockKeeper {
  readonly #runs: TaskRuns
  readonly #renewLocks: RenewLocks
  readonly #log: Logger
  #timer: NodeJS.Timeout | undefined
  #renewing = false

  constructor(runs: TaskRuns, renewLocks: RenewLocks, log: Logger) {
    this.#runs = runs
    this.#renewLocks = renewLocks
    this.#log = log
  }

  start(): void {
    this.#timer = setInterval(() => void this.#renew(), RENEW_MS)
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  // While Redis is away a renewal waits for it, and no second one is begun.
  async #renew(): Promise<void> {
    const runs = this.#runs.all()
    if (this.#renewing || runs.length === 0) return
    this.#renewing = true
    try {
      const ids = runs.map(run => run.taskId)
      const tokens = runs.map(run => run.lockToken)
      const lost = new Set(await this.#renewLocks(ids, tokens, LOCK_MS))
      for (const run of runs) if (lost.has(run.taskId) && !run.isEnding) run.stop('lock-lost')
    } catch (error) {
      this.#log.warn({ err: error }, 'locks could not be renewed')
    } finally {
      this.#renewing = false
    }
  }
}

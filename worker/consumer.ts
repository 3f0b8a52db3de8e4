// Takes jobs from BullMQ, gives their tasks to the runner, and does with each job what the runner answers. BullMQ
// leases and schedules; all decisions about a task are made from its record.

import { DelayedError, type Job, WaitingError, type Worker } from 'bullmq'
import type { Redis } from 'ioredis'
import { jobIdOf, taskIdOfJob } from '../shared/job-id.ts'
import { QUEUE_NAME } from '../shared/keys.ts'
import type { Logger } from '../shared/log.ts'
import { withTimeout } from '../shared/redis-connection.ts'
import type { TaskRecord } from '../shared/task.ts'
import type { TaskTaker } from './liveness.ts'
import type { LoadedTask } from './load-tasks.ts'
import { LOCK_MS, LockKeeper } from './lock-keeper.ts'
import { createQueueWorker } from './queue-worker.ts'
import type { BegunRun, RunEnds } from './run-ends.ts'
import type { JobFate, TaskRunner } from './run-task.ts'
import { TaskRun, type TaskRuns } from './task-run.ts'

/** A task of a type that this worker does not have is left to others for this long. */
const UNKNOWN_TYPE_DELAY_MS = 1_000
/** A run that broke off for a fault of Redis or our own is repeated after this long. */
const BROKEN_OFF_DELAY_MS = 1_000
/** After the grace of a drain: until handlers that do not heed their signal are cut off, and their tasks back. */
const HAND_BACK_MS = 5_000

export interface ConsumerParts {
  /** For commands; BullMQ opens a second connection like it, for waiting. It stays the caller's. */
  readonly redis: Redis
  readonly runner: TaskRunner
  readonly ends: RunEnds
  readonly runs: TaskRuns
  readonly types: ReadonlyMap<string, LoadedTask>
  /** Tasks that run at once. */
  readonly concurrency: number
  readonly log: Logger
}

export class Consumer implements TaskTaker {
  readonly #runner: TaskRunner
  readonly #ends: RunEnds
  readonly #runs: TaskRuns
  readonly #types: ReadonlyMap<string, LoadedTask>
  readonly #concurrency: number
  readonly #log: Logger
  readonly #worker: Worker
  readonly #locks: LockKeeper
  readonly #toHoldBack = new WeakMap<Job, TaskRecord>()
  #taken = 0
  #draining = false

  constructor({ redis, runner, ends, runs, types, concurrency, log }: ConsumerParts) {
    this.#runner = runner
    this.#ends = ends
    this.#runs = runs
    this.#types = types
    this.#concurrency = concurrency
    this.#log = log
    this.#worker = createQueueWorker(QUEUE_NAME, (job, token) => this.#process(job, token ?? ''), {
      redis,
      concurrency,
      skipLockRenewal: true,
      removeOnComplete: { count: 0 },
      removeOnFail: { count: 0 },
      backendFactory: ends.backendFactory,
      log,
    })
    this.#worker.on('completed', job => void this.#removed(job))
    this.#locks = new LockKeeper(
      runs,
      (taskIds, tokens, durationMs) => this.#renewLocks(taskIds, tokens, durationMs),
      log,
    )
  }

  start(): void {
    this.#locks.start()
    this.#worker.run().catch(error => this.#log.error({ err: error }, 'the worker stopped taking tasks'))
  }

  /**
   * Takes no further task. Running ones have `graceMs` to end by themselves; then their signals are aborted, and
   * what does not end goes back to the queue.
   */
  async stop(graceMs: number): Promise<void> {
    this.#draining = true
    this.#ends.takeNoNext()
    // Resolves when all running tasks have settled; on its own it has no limit.
    const idle = this.#worker.close()
    if (!(await settlesWithin(idle, graceMs))) {
      this.#runs.stopAll('drain')
      if (!(await settlesWithin(idle, HAND_BACK_MS)))
        this.#log.warn(
          { tasks: this.#runs.size },
          'some tasks could not be handed back and will be recovered',
        )
    }
    this.#locks.stop()
  }

  hasRoom(): boolean {
    return !this.#draining && this.#runs.size < this.#concurrency
  }

  isDraining(): boolean {
    return this.#draining
  }

  taken(): number {
    return this.#taken
  }

  async #process(job: Job, token: string): Promise<void> {
    this.#taken++
    const loaded = this.#types.get(job.name)
    const begun = this.#ends.takeBegun(job.id ?? '')
    if (this.#draining && !begun) return this.#settle(job, token, { job: 'hand-back' })
    if (!loaded) return this.#settle(job, token, { job: 'delay', until: Date.now() + UNKNOWN_TYPE_DELAY_MS })
    if (begun && (await this.#isLost(begun, job, token))) return this.#settle(job, token, { job: 'leave' })
    const run = new TaskRun(taskIdOf(job), token, begun?.token)
    this.#runs.add(run)
    // A run that has begun is given back as one.
    if (this.#draining) run.stop('drain')
    try {
      return await this.#settle(job, token, await this.#runTask(loaded, run, begun))
    } finally {
      this.#runs.remove(run)
    }
  }

  /**
   * Between the beginning of a run and its coming here nobody renews its lock, and what stands between waits for Redis:
   * after an outage the task may be with another worker.
   */
  async #isLost({ startedAt }: BegunRun, job: Job, token: string): Promise<boolean> {
    if (Date.now() - startedAt < LOCK_MS / 2) return false
    return (await this.#renewLocks([taskIdOf(job)], [token], LOCK_MS)).length > 0
  }

  async #renewLocks(taskIds: string[], tokens: string[], durationMs: number): Promise<string[]> {
    const lost = await this.#worker.extendJobLocks(taskIds.map(jobIdOf), tokens, durationMs)
    return lost.map(taskIdOfJob)
  }

  /** A job is gone from the queue. */
  async #removed(job: Job): Promise<void> {
    const task = this.#toHoldBack.get(job)
    if (!task) return
    try {
      await this.#runner.holdBack(task)
    } catch (error) {
      // It is an open task without a job: the reconciler's.
      this.#log.warn({ err: error, task: task.id }, 'a task could not be held back')
    }
  }

  async #runTask(loaded: LoadedTask, run: TaskRun, begun: BegunRun | undefined): Promise<JobFate> {
    try {
      return await this.#runner.run(loaded, run, begun)
    } catch (error) {
      this.#log.error({ err: error, task: run.taskId }, 'a run broke off')
      // Its job is gone, and the next one waits for BullMQ to hear of that.
      if (run.isEnding) return { job: 'remove' }
      return { job: 'delay', until: Date.now() + BROKEN_OFF_DELAY_MS }
    }
  }

  /** Returning removes the job; the errors tell BullMQ that it is elsewhere already. */
  async #settle(job: Job, token: string, fate: JobFate): Promise<void> {
    if (fate.job === 'hold-back') this.#toHoldBack.set(job, fate.task)
    if (fate.job === 'remove' || fate.job === 'hold-back') return
    try {
      if (fate.job === 'delay') await job.moveToDelayed(fate.until, token)
      if (fate.job === 'hand-back') await job.moveToWait(token)
    } catch (error) {
      // The lock is gone, so the job is somebody else's or becomes it: its task's record says what to do.
      this.#log.warn({ err: error, task: taskIdOf(job), fate }, 'a job could not be put back')
    }
    throw fate.job === 'delay' ? new DelayedError() : new WaitingError()
  }
}

/** Whether it settles in time; a failure counts as settled. */
function settlesWithin(pending: Promise<unknown>, timeoutMs: number): Promise<boolean> {
  const settled = pending.catch(() => undefined)
  return withTimeout(settled, timeoutMs).then(
    () => true,
    () => false,
  )
}

function taskIdOf(job: Job): string {
  return taskIdOfJob(job.id ?? '')
}

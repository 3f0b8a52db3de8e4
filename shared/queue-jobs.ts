// Puts the jobs of tasks into BullMQ's queue. The one caller of add-jobs.lua.

import { readFileSync } from 'node:fs'
import type { JobJson, Queue } from 'bullmq'
import { addStandardJob } from 'bullmq/dist/cjs/scripts/addStandardJob-9.js'
import { type Redis, ReplyError } from 'ioredis'
import { jobIdOf } from './job-id.ts'
import type { TaskRequest } from './task.ts'

/** A task as far as the queue goes. */
export type QueuedJob = Pick<TaskRequest, 'id' | 'type' | 'priority' | 'delayMs'>

/**
 * What BullMQ stores of a job is what the job says of itself; all else about a task stands in its record, and what
 * holds for every job says the worker. A hash of short values alone takes a third of the memory.
 */
const JOB: Omit<JobJson, 'id' | 'name' | 'timestamp' | 'opts'> = {
  data: '{}',
  progress: 0,
  attemptsMade: 0,
  attemptsStarted: 0,
  stalledCounter: 0,
  failedReason: '',
  returnvalue: '',
}

/** Those that BullMQ's script is given, in its order. */
const KEYS = ['wait', 'paused', 'meta', 'id', 'completed', 'delayed', 'active', 'events', 'marker']

/** Of one script, which nothing interrupts. */
const MAX_JOBS = 50

interface ScriptCommands {
  millraceAddJobs(args: (string | number)[]): Promise<string[]>
}

export class QueueJobs {
  readonly #redis: Redis & ScriptCommands
  readonly #queue: Queue
  readonly #keys: readonly string[]

  /** Both stay the caller's. */
  constructor(redis: Redis, queue: Queue) {
    const lua = readFileSync(new URL('./add-jobs.lua', import.meta.url), 'utf8')
    redis.defineCommand('millraceAddJobs', {
      lua: `local function addJob(KEYS, ARGV, cmsgpack, redis)\n${addStandardJob.content}\nend\n${lua}`,
      numberOfKeys: addStandardJob.keys,
    })
    this.#redis = redis as Redis & ScriptCommands
    this.#queue = queue
    this.#keys = KEYS.map(name => queue.toKey(name))
  }

  /**
   * Adds a job for each task, in their order; one that exists stays as it is. Answers for each null, or the error that it
   * met. Never rejects.
   */
  async add(tasks: readonly QueuedJob[]): Promise<(Error | null)[]> {
    const outcomes: (Error | null)[] = new Array(tasks.length).fill(null)
    const added: Promise<void>[] = []
    let plain: number[] = []
    const addPlain = () => {
      if (plain.length > 0) added.push(this.#addTogether(tasks, plain, outcomes))
      plain = []
    }
    for (const [i, task] of tasks.entries()) {
      if (task.priority > 0 || task.delayMs > 0) {
        added.push(
          this.#addByItself(task).then(error => {
            outcomes[i] = error
          }),
        )
      } else if (plain.push(i) === MAX_JOBS) addPlain()
    }
    addPlain()
    await Promise.all(added)
    return outcomes
  }

  async #addTogether(
    tasks: readonly QueuedJob[],
    indexes: readonly number[],
    outcomes: (Error | null)[],
  ): Promise<void> {
    const args: (string | number)[] = [...this.#keys, this.#queue.toKey(''), JOB.data, Date.now()]
    for (const i of indexes) args.push(jobIdOf(tasks[i]!.id), tasks[i]!.type)
    try {
      const errors = await this.#redis.millraceAddJobs(args)
      for (const [n, i] of indexes.entries()) if (errors[n]) outcomes[i] = new ReplyError(errors[n])
    } catch (error) {
      for (const i of indexes) outcomes[i] = error as Error
    }
  }

  /** By what BullMQ's `add` comes down to: that keeps the id in the job's options too. */
  async #addByItself({ id, type, priority, delayMs }: QueuedJob): Promise<Error | null> {
    const jobId = jobIdOf(id)
    const opts = { ...(priority > 0 && { priority }), ...(delayMs > 0 && { delay: delayMs }) }
    try {
      await this.#queue.backend.addJob({ ...JOB, id: jobId, name: type, timestamp: Date.now(), opts }, jobId)
      return null
    } catch (error) {
      return error as Error
    }
  }
}

// Puts tasks into BullMQ and takes them out again: submit and cancel. BullMQ leases and schedules; the truth
// about a task is its record.

import type { Queue } from 'bullmq'
import type { Redis } from 'ioredis'
import { Admission, type QueuedTask } from './admission.ts'
import { MillraceError } from './errors.ts'
import type { Once } from './event-log.ts'
import { jobIdOf, taskIdOfJob } from './job-id.ts'
import { CANCEL_TOPIC, QUEUE_NAME } from './keys.ts'
import { openQueue } from './open-queue.ts'
import { NewTasks } from './redis-new-tasks.ts'
import type { TaskStore } from './redis-tasks.ts'
import { isTerminal, type TaskRecord, type TaskRequest } from './task.ts'
import { type Submission, TaskSubmissions } from './task-submissions.ts'
import { cancelling, ended } from './task-transitions.ts'

/** What makes a submission one that may be repeated: the same task comes of it however often it is done. */
export interface Repeatable {
  /** Milliseconds since 1970. */
  readonly createdAt: number
  /** What records one of the tasks, by its place among them: no two of them are taken for one. */
  once(index: number): Once
}

/** How many tasks wait to be run, run, wait for their time, and for another one of their concurrency key. */
export interface QueueCounts {
  readonly queued: number
  readonly running: number
  readonly scheduled: number
  readonly held: number
}

/** A cancellation can meet a task that changes state at the same moment; each round sees a newer one. */
const CANCEL_ROUNDS = 5

export class TaskQueue {
  readonly #queue: Queue
  readonly #redis: Redis
  readonly #tasks: TaskStore
  readonly #submissions: TaskSubmissions
  /** Decides which tasks come into the queue at all. */
  readonly admission: Admission

  /** `redis` stays the caller's. */
  constructor(redis: Redis, tasks: TaskStore) {
    this.#redis = redis
    this.#tasks = tasks
    this.#queue = openQueue(QUEUE_NAME, redis)
    this.admission = new Admission(redis, tasks, this.#queue)
    this.#submissions = new TaskSubmissions(tasks, new NewTasks(redis), this.admission)
  }

  /**
   * Records and queues a task; when this returns, the task is in Redis. Answers it as accepted. Throws `task-exists`,
   * or what Redis threw: after having undone what was recorded, unless the submission is `repeatable`.
   */
  submit(request: TaskRequest, repeatable?: Repeatable): Promise<TaskRecord> {
    return this.#submissions.submit(submissionOf(request, 0, repeatable, Date.now()))
  }

  /** Like `submit`, for some tasks in their order: each is answered by itself or by the error that it met. Never rejects. */
  submitAll(requests: readonly TaskRequest[], repeatable?: Repeatable): Promise<(TaskRecord | Error)[]> {
    const now = Date.now()
    return this.#submissions.submitAll(
      requests.map((request, i) => submissionOf(request, i, repeatable, now)),
    )
  }

  /**
   * Gives a recorded task to the workers, or holds it back where its concurrency key has no room. A job that exists
   * already stays as it is. A delayed task asks for room when its time has come.
   */
  enqueue(task: QueuedTask): Promise<void> {
    return this.admission.enqueue(task)
  }

  /**
   * Cancels a task: at once while it waits, by its worker while it runs. Answers the task as it is then, or
   * null when there is none; a task that had ended before is left alone and answered.
   */
  async cancel(taskId: string, reason?: string): Promise<TaskRecord | null> {
    for (let round = 0; round < CANCEL_ROUNDS; round++) {
      const task = await this.#tasks.load(taskId)
      if (!task || isTerminal(task.state)) return task
      if (task.cancelRequested) return task
      const done =
        task.state === 'running'
          ? await this.#cancelRunning(task, reason)
          : await this.#cancelWaiting(task, reason)
      if (done) return this.#tasks.load(taskId)
    }
    throw new MillraceError('internal', `the task ${taskId} kept changing while it was being cancelled`)
  }

  /** Takes a task's job out, unless a worker holds it. */
  async remove(taskId: string): Promise<void> {
    await this.#queue.remove(jobIdOf(taskId))
  }

  /** Those of the tasks that have no job and are not held back either. */
  async withoutJob(taskIds: readonly string[]): Promise<string[]> {
    // Asked first: a task that is let go meanwhile gets its job.
    const held = await this.admission.heldBack(taskIds)
    const pipeline = this.#redis.pipeline()
    for (const id of taskIds) pipeline.exists(this.#queue.toKey(jobIdOf(id)))
    const replies = (await pipeline.exec()) ?? []
    return taskIds.filter((id, i) => replies[i]?.[1] === 0 && !held.has(id))
  }

  async counts(): Promise<QueueCounts> {
    const { wait, prioritized, active, delayed } = await this.#queue.getJobCounts(
      'wait',
      'prioritized',
      'active',
      'delayed',
    )
    return {
      queued: (wait ?? 0) + (prioritized ?? 0),
      running: active ?? 0,
      scheduled: delayed ?? 0,
      held: await this.admission.countHeldBack(),
    }
  }

  /** Ids of a few waiting tasks, those that wait longest among them: the next ones and the least urgent. */
  async sampleWaiting(count: number): Promise<string[]> {
    const next = await this.#queue.getRanges(['wait', 'prioritized'], 0, count - 1, true)
    const last = await this.#queue.getRanges(['prioritized'], 0, count - 1, false)
    return [...new Set([...next, ...last])].map(taskIdOfJob)
  }

  /** When each of the tasks came into the queue, in ms since 1970; null for those without a job. */
  async queuedAt(taskIds: readonly string[]): Promise<(number | null)[]> {
    const pipeline = this.#redis.pipeline()
    for (const id of taskIds) pipeline.hget(this.#queue.toKey(jobIdOf(id)), 'timestamp')
    const replies = (await pipeline.exec()) ?? []
    return replies.map(([, time]) => (typeof time === 'string' ? Number(time) : null))
  }

  async close(): Promise<void> {
    await this.#queue.close()
  }

  async #cancelWaiting(task: TaskRecord, reason: string | undefined): Promise<boolean> {
    const transition = ended(
      task,
      { state: 'cancelled', reason },
      { now: Date.now(), from: ['scheduled', 'queued'] },
    )
    if ((await this.#tasks.apply(task.id, transition)).outcome !== 'ok') return false
    await this.#tasks.close([task])
    await this.admission.makeRoom(task)
    // A worker that takes the job in this moment sees that the task has ended.
    await this.remove(task.id).catch(() => undefined)
    return true
  }

  async #cancelRunning(task: TaskRecord, reason: string | undefined): Promise<boolean> {
    if ((await this.#tasks.apply(task.id, cancelling(task, reason, Date.now()))).outcome !== 'ok')
      return false
    await this.#redis.publish(CANCEL_TOPIC, task.id)
    return true
  }
}

function submissionOf(
  request: TaskRequest,
  index: number,
  repeatable: Repeatable | undefined,
  now: number,
): Submission {
  return { request, createdAt: repeatable?.createdAt ?? now, once: repeatable?.once(index) }
}

// Puts tasks into BullMQ and takes them out again: submit and cancel. BullMQ leases and schedules; the truth
// about a task is its record.

import type { JobJson, Queue } from 'bullmq'
import type { Redis } from 'ioredis'
import { Admission, type QueuedTask } from './admission.ts'
import { MillraceError } from './errors.ts'
import { formatPosition } from './event-id.ts'
import type { Once } from './event-log.ts'
import { jobIdOf, taskIdOfJob } from './job-id.ts'
import { CANCEL_TOPIC, QUEUE_NAME } from './keys.ts'
import { openQueue } from './open-queue.ts'
import type { TaskKey, TaskStore } from './redis-tasks.ts'
import { isTerminal, type TaskRecord, type TaskRequest } from './task.ts'
import { acceptedTask } from './task-record.ts'
import { cancelling, ended, submitted } from './task-transitions.ts'

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

/** What makes a submission one that may be repeated: the same task comes of it however often it is done. */
export interface Repeatable {
  /** Milliseconds since 1970. */
  readonly createdAt: number
  /** What records one of the tasks, by its place among them: no two of them are taken for one. */
  once(index: number): Once
}

/** A task that is in Redis, and whether it was not before. */
interface Recorded {
  readonly task: TaskRecord
  readonly isNew: boolean
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
  /** Decides which tasks come into the queue at all. */
  readonly admission: Admission

  /** `redis` stays the caller's. */
  constructor(redis: Redis, tasks: TaskStore) {
    this.#redis = redis
    this.#tasks = tasks
    this.admission = new Admission(redis, tasks, jobs => this.#addJobs(jobs))
    this.#queue = openQueue(QUEUE_NAME, redis)
  }

  /**
   * Records and queues a task; when this returns, the task is in Redis. Answers it as accepted. Throws `task-exists`,
   * or what Redis threw: after having undone what was recorded, unless the submission is `repeatable`.
   */
  async submit(request: TaskRequest, repeatable?: Repeatable): Promise<TaskRecord> {
    const [submitted] = await this.submitAll([request], repeatable)
    if (!submitted || submitted instanceof Error) throw submitted
    return submitted
  }

  /** Like `submit`, for some tasks in their order: each is answered by itself or by the error that it met. Never rejects. */
  async submitAll(
    requests: readonly TaskRequest[],
    repeatable?: Repeatable,
  ): Promise<(TaskRecord | Error)[]> {
    if (requests.length === 0) return []
    const createdAt = repeatable?.createdAt ?? Date.now()
    const keys = requests.map(({ id }) => ({ id, createdAt }))
    // Both leave in one write, in this order: nothing is recorded that is not registered before.
    const registered = this.#tasks.register(keys).then(
      () => null,
      (error: Error) => error,
    )
    const submissions = await Promise.all(
      requests.map((request, i) =>
        this.#record(request, createdAt, repeatable?.once(i)).catch((error: Error) => error),
      ),
    )
    const failure = await registered
    const isRepeatable = repeatable !== undefined
    if (failure) return this.#undoAll(submissions, failure, isRepeatable)
    // An entry from before a gateway was lost is old, and one without a record may just have been swept.
    if (repeatable) await this.#tasks.register(keys).catch(() => undefined)
    return Promise.all(
      submissions.map((submission, i) => this.#enqueueRecorded(requests[i]!, submission, isRepeatable)),
    )
  }

  /**
   * Gives a recorded task to the workers, or holds it back where its concurrency key has no room. A job that exists
   * already stays as it is. A delayed task asks for room when its time has come.
   */
  async enqueue(task: QueuedTask): Promise<void> {
    await this.admission.enqueue([task])
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

  /** Answers the task as it was accepted; a worker may have it by then. */
  async #record(request: TaskRequest, createdAt: number, once: Once | undefined): Promise<Recorded> {
    const { event, write } = submitted(request, createdAt)
    const answer = await this.#tasks.apply(request.id, { event, write: { ...write, once } })
    if (answer.outcome !== 'ok' && answer.outcome !== 'repeated')
      throw await this.#taken({ id: request.id, createdAt })
    const lastEventId = answer.outcome === 'ok' ? formatPosition(answer.first) : answer.lastEventId
    return { task: acceptedTask(request, createdAt, lastEventId), isNew: answer.outcome === 'ok' }
  }

  async #enqueueRecorded(
    request: TaskRequest,
    submission: Recorded | Error,
    isRepeatable: boolean,
  ): Promise<TaskRecord | Error> {
    if (submission instanceof Error) return submission
    const { task, isNew } = submission
    try {
      await (isNew ? this.admission.enqueue([request]) : this.#enqueueAgain(request, task))
    } catch (error) {
      await this.#undo(task, isRepeatable)
      return error as Error
    }
    // Not before, since what can't be queued is undone; what fails here is done by the reconciler.
    await this.#tasks.copyEvents(task).catch(() => false)
    return task
  }

  /** Answers the failure for all that were recorded: their callers are told that the outcome is unclear. */
  async #undoAll(
    submissions: readonly (Recorded | Error)[],
    failure: Error,
    isRepeatable: boolean,
  ): Promise<Error[]> {
    const errors: Error[] = []
    for (const submission of submissions) {
      errors.push(submission instanceof Error ? submission : failure)
      if (!(submission instanceof Error)) await this.#undo(submission.task, isRepeatable)
    }
    return errors
  }

  /**
   * What may be repeated is not undone, since another gateway may have answered a repetition by now; the next one
   * queues it, or the reconciler. That does it too where Redis can't be reached for undoing.
   */
  async #undo(task: TaskRecord, isRepeatable: boolean): Promise<void> {
    if (!isRepeatable) await this.#tasks.forget(task).catch(() => undefined)
  }

  async #addJobs(tasks: readonly QueuedTask[]): Promise<void> {
    const timestamp = Date.now()
    // By what `add` and `addBulk` come down to: those keep the id in each job's options too.
    await Promise.all(
      tasks.map(({ id, type, priority, delayMs }) => {
        const jobId = jobIdOf(id)
        const opts = { ...(priority > 0 && { priority }), ...(delayMs > 0 && { delay: delayMs }) }
        return this.#queue.backend.addJob({ ...JOB, id: jobId, name: type, timestamp, opts }, jobId)
      }),
    )
  }

  /** Whoever recorded the task may have died before it was queued. Where it has a job that one stays. */
  async #enqueueAgain(request: TaskRequest, { createdAt }: TaskKey): Promise<void> {
    const task = await this.#tasks.loadState(request.id)
    if (task?.state !== 'queued' && task?.state !== 'scheduled') return
    await this.enqueue({ ...request, delayMs: Math.max(createdAt + request.delayMs - Date.now(), 0) })
  }

  async #taken(key: TaskKey): Promise<MillraceError> {
    const other = await this.#tasks.load(key.id)
    if (other?.createdAt !== key.createdAt) await this.#tasks.unregister(key)
    return new MillraceError('task-exists', `a task with the id ${key.id} exists already`, {
      errors: [{ path: 'id', message: 'is the id of another task' }],
    })
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

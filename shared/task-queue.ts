// Puts tasks into BullMQ and takes them out again: submit and cancel. BullMQ leases and schedules; the truth
// about a task is its record.

import { Queue } from 'bullmq'
import type { Redis } from 'ioredis'
import { MillraceError } from './errors.ts'
import { formatPosition } from './event-id.ts'
import type { Once } from './event-log.ts'
import { CANCEL_TOPIC, QUEUE_NAME, QUEUE_PREFIX } from './keys.ts'
import type { TaskKey, TaskStore } from './redis-tasks.ts'
import { isTerminal, type TaskRecord, type TaskRequest } from './task.ts'
import { recordOf } from './task-record.ts'
import { cancelling, ended, submitted } from './task-transitions.ts'

/**
 * BullMQ's own attempts only cover faults of the wrapper around a handler (Redis gone in the middle of it);
 * the attempts that a task is given are counted in its record.
 */
const WRAPPER_ATTEMPTS = 1_000
const WRAPPER_RETRY_MS = 1_000

/** What makes a submission one that may be repeated: the same task comes of it however often it is done. */
export interface Repeatable {
  /** Milliseconds since 1970. */
  readonly createdAt: number
  readonly once: Once
}

/** How many tasks wait to be run, run, and wait for their time. */
export interface QueueCounts {
  readonly queued: number
  readonly running: number
  readonly scheduled: number
}

/** A cancellation can meet a task that changes state at the same moment; each round sees a newer one. */
const CANCEL_ROUNDS = 5

export class TaskQueue {
  readonly #queue: Queue
  readonly #redis: Redis
  readonly #tasks: TaskStore

  /** `redis` stays the caller's. */
  constructor(redis: Redis, tasks: TaskStore) {
    this.#redis = redis
    this.#tasks = tasks
    this.#queue = new Queue(QUEUE_NAME, {
      connection: redis,
      prefix: QUEUE_PREFIX,
      skipMetasUpdate: true,
      // The check is asked once, and where Redis fails to answer just then, every later call fails with it.
      skipVersionCheck: true,
    })
    // Faults of the connection surface in the calls below; without a listener they would end the process.
    this.#queue.on('error', () => undefined)
  }

  /**
   * Records and queues a task; when this returns, the task is in Redis. Answers it as accepted. Throws `task-exists`,
   * or what Redis threw: after having undone what was recorded, unless the submission is `repeatable`.
   */
  async submit(request: TaskRequest, repeatable?: Repeatable): Promise<TaskRecord> {
    const key = { id: request.id, createdAt: repeatable?.createdAt ?? Date.now() }
    await this.#tasks.register(key)
    const { event, write } = submitted(request, key.createdAt)
    const answer = await this.#tasks.apply(request.id, {
      event,
      write: { ...write, once: repeatable?.once },
    })
    // An entry from before a gateway was lost is old, and one without a record may just have been swept.
    if (repeatable) await this.#tasks.register(key)
    if (answer.outcome === 'repeated') await this.#enqueueAgain(request, key.createdAt)
    else if (answer.outcome === 'ok') await this.#enqueueNew(request, key, repeatable !== undefined)
    else throw await this.#taken(key)
    const lastEventId = answer.outcome === 'ok' ? formatPosition(answer.first) : answer.lastEventId
    // As it was accepted; a worker may have it already.
    return recordOf({ ...write.set, lastEventId })
  }

  /** Gives a recorded task to the workers. A job that exists already stays as it is. */
  async enqueue(task: Pick<TaskRequest, 'id' | 'type' | 'priority' | 'delayMs'>): Promise<void> {
    await this.#queue.add(
      task.type,
      {},
      {
        jobId: task.id,
        priority: task.priority,
        delay: task.delayMs,
        attempts: WRAPPER_ATTEMPTS,
        backoff: { type: 'fixed', delay: WRAPPER_RETRY_MS },
        removeOnComplete: true,
        removeOnFail: true,
        stackTraceLimit: 1,
      },
    )
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
    await this.#queue.remove(taskId)
  }

  /** Those of the tasks that have no job. */
  async withoutJob(taskIds: readonly string[]): Promise<string[]> {
    const pipeline = this.#redis.pipeline()
    for (const id of taskIds) pipeline.exists(this.#queue.toKey(id))
    const replies = (await pipeline.exec()) ?? []
    return taskIds.filter((_, i) => replies[i]?.[1] === 0)
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
    }
  }

  /** Ids of a few waiting tasks, those that wait longest among them: the next ones and the least urgent. */
  async sampleWaiting(count: number): Promise<string[]> {
    const next = await this.#queue.getRanges(['wait', 'prioritized'], 0, count - 1, true)
    const last = await this.#queue.getRanges(['prioritized'], 0, count - 1, false)
    return [...new Set([...next, ...last])]
  }

  async close(): Promise<void> {
    await this.#queue.close()
  }

  async #enqueueNew(request: TaskRequest, key: TaskKey, isRepeatable: boolean): Promise<void> {
    try {
      await this.enqueue(request)
    } catch (error) {
      // The caller is told that the outcome is unclear. What may be repeated is not undone, since another gateway
      // may have answered a repetition by now; the next one queues it, or the reconciler. That does it too where
      // Redis can't be reached for undoing either.
      if (!isRepeatable) await this.#tasks.forget(key).catch(() => undefined)
      throw error
    }
  }

  /** Whoever recorded the task may have died before it was queued. Where it has a job that one stays. */
  async #enqueueAgain(request: TaskRequest, createdAt: number): Promise<void> {
    const task = await this.#tasks.loadState(request.id)
    if (task?.state !== 'queued' && task?.state !== 'scheduled') return
    await this.enqueue({ ...request, delayMs: Math.max(createdAt + request.delayMs - Date.now(), 0) })
  }

  async #taken(key: TaskKey): Promise<MillraceError> {
    const other = await this.#tasks.load(key.id)
    if (other?.createdAt !== key.createdAt) await this.#tasks.unregister(key)
    return new MillraceError('task-exists', `a task with the id ${key.id} exists already`)
  }

  async #cancelWaiting(task: TaskRecord, reason: string | undefined): Promise<boolean> {
    const transition = ended(
      task,
      { state: 'cancelled', reason },
      { now: Date.now(), from: ['scheduled', 'queued'] },
    )
    if ((await this.#tasks.apply(task.id, transition)).outcome !== 'ok') return false
    await this.#tasks.close(task)
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

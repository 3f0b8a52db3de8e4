// Takes tasks in: records, lists and queues them. Those that come at about the same time go together, since most of what a
// task costs by itself are its commands.

import type { Admission } from './admission.ts'
import { MillraceError } from './errors.ts'
import type { Once } from './event-log.ts'
import { Gather } from './gather.ts'
import type { NewTask, NewTasks, TaskBegin } from './redis-new-tasks.ts'
import type { TaskKey, TaskStore } from './redis-tasks.ts'
import { isQueuedAtOnce, type TaskRecord, type TaskRequest } from './task.ts'
import { acceptedTask } from './task-record.ts'
import { submitted } from './task-transitions.ts'

export interface Submission {
  readonly request: TaskRequest
  /** Milliseconds since 1970. */
  readonly createdAt: number
  /** Of a submission that may be repeated: the same task comes of it however often it is done. */
  readonly once?: Once | undefined
}

/** A submission on its way. */
interface Step {
  readonly submission: Submission
  readonly begun: 'ok' | 'repeated' | 'taken' | 'failed'
  /** The task as it was accepted, or what it met; a worker may have it by then. */
  outcome: TaskRecord | Error
}

/** So many are sent at once, without waiting for more: Redis then works on them while others are checked. */
const MAX_GATHERED = 16

export class TaskSubmissions {
  readonly #tasks: TaskStore
  readonly #newTasks: NewTasks
  readonly #admission: Admission
  readonly #gather = new Gather<Submission, TaskRecord>(
    submissions => this.submitAll(submissions),
    setImmediate,
    MAX_GATHERED,
  )

  constructor(tasks: TaskStore, newTasks: NewTasks, admission: Admission) {
    this.#tasks = tasks
    this.#newTasks = newTasks
    this.#admission = admission
  }

  /** Submits a task together with those that come in the same turn of the event loop. Throws the error that it met. */
  submit(submission: Submission): Promise<TaskRecord> {
    return this.#gather.add(submission)
  }

  /** Answers each by itself, with the task or the error that it met. Never rejects. */
  async submitAll(submissions: readonly Submission[]): Promise<(TaskRecord | Error)[]> {
    if (submissions.length === 0) return []
    const begun = await this.#newTasks.begin(submissions.map(beginOf))
    const steps = begun.map((answer, i) => stepOf(submissions[i]!, answer))
    const others = steps.filter(({ submission }) => !isQueuedAtOnce(submission.request))
    await Promise.all(others.map(step => this.#enqueue(step)))
    // Not before, since what can't be queued is undone; what fails here is done by the reconciler.
    const copied = steps.filter(({ outcome }) => !(outcome instanceof Error) && outcome.channels.length > 0)
    await Promise.all(
      copied.map(({ outcome }) => this.#tasks.copyEvents(outcome as TaskRecord).catch(() => false)),
    )
    return steps.map(({ outcome }) => outcome)
  }

  async #enqueue(step: Step): Promise<void> {
    if (step.begun === 'repeated') return this.#enqueueAgain(step)
    if (step.begun !== 'ok') return
    await this.#admission.enqueue(step.submission.request).catch((error: Error) => this.#undo(step, error))
  }

  /** Whoever recorded the task may have died before it was queued. Where it has a job that one stays. */
  async #enqueueAgain(step: Step): Promise<void> {
    const { request, createdAt } = step.submission
    try {
      const task = await this.#tasks.loadState(request.id)
      if (task?.state !== 'queued' && task?.state !== 'scheduled') return
      const delayMs = Math.max(createdAt + request.delayMs - Date.now(), 0)
      await this.#admission.enqueue({ ...request, delayMs })
    } catch (error) {
      await this.#undo(step, error as Error)
    }
  }

  /**
   * What may be repeated is not undone, since another gateway may have answered a repetition by now; the next one
   * queues it, or the reconciler. That does it too where Redis can't be reached for undoing.
   */
  async #undo(step: Step, failure: Error): Promise<void> {
    step.outcome = failure
    if (!step.submission.once) await this.#tasks.forget(keyOf(step)).catch(() => undefined)
  }
}

function keyOf({ submission: { request, createdAt } }: Pick<Step, 'submission'>): TaskKey {
  return { id: request.id, createdAt }
}

function beginOf({ request, createdAt, once }: Submission): NewTask {
  return submitted(request, createdAt, once)
}

function stepOf(submission: Submission, answer: TaskBegin | Error): Step {
  const { request, createdAt } = submission
  if (answer instanceof Error) return { submission, begun: 'failed', outcome: answer }
  if (answer.outcome === 'ok' || answer.outcome === 'repeated') {
    const outcome = acceptedTask(request, createdAt, answer.firstId)
    return { submission, begun: answer.outcome, outcome }
  }
  const outcome = new MillraceError('task-exists', `a task with the id ${request.id} exists already`, {
    errors: [{ path: 'id', message: 'is the id of another task' }],
  })
  return { submission, begun: 'taken', outcome }
}

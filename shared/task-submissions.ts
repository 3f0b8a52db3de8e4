// Takes tasks in: registers, records and queues them, in this order. Those that come at about the same time go
// together, since most of what a task costs by itself are its commands.

import type { Admission } from './admission.ts'
import { MillraceError } from './errors.ts'
import type { NewTask, Once, TaskBegin } from './event-log.ts'
import type { TaskKey, TaskStore } from './redis-tasks.ts'
import type { TaskRecord, TaskRequest } from './task.ts'
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

interface Gathered {
  readonly submission: Submission
  resolve(task: TaskRecord): void
  reject(error: Error): void
}

/** So many are sent at once, without waiting for more: Redis then works on them while others are checked. */
const MAX_GATHERED = 16

export class TaskSubmissions {
  readonly #tasks: TaskStore
  readonly #admission: Admission
  #gathered: Gathered[] = []

  constructor(tasks: TaskStore, admission: Admission) {
    this.#tasks = tasks
    this.#admission = admission
  }

  /** Submits a task together with those that come in the same turn of the event loop. Throws the error that it met. */
  submit(submission: Submission): Promise<TaskRecord> {
    return new Promise((resolve, reject) => {
      const waiting = this.#gathered.push({ submission, resolve, reject })
      if (waiting === 1) setImmediate(this.#submitGathered)
      else if (waiting === MAX_GATHERED) this.#submitGathered()
    })
  }

  readonly #submitGathered = (): void => {
    const gathered = this.#gathered
    this.#gathered = []
    void this.submitAll(gathered.map(({ submission }) => submission)).then(outcomes => {
      for (const [i, { resolve, reject }] of gathered.entries()) {
        const outcome = outcomes[i]!
        if (outcome instanceof Error) reject(outcome)
        else resolve(outcome)
      }
    })
  }

  /** Answers each by itself, with the task or the error that it met. Never rejects. */
  async submitAll(submissions: readonly Submission[]): Promise<(TaskRecord | Error)[]> {
    if (submissions.length === 0) return []
    // Both leave in one write, in this order: nothing is recorded that is not registered before.
    const [failure, begun] = await Promise.all([
      this.#tasks.register(submissions.map(submission => keyOf({ submission }))).then(
        () => null,
        (error: Error) => error,
      ),
      this.#tasks.log.beginTasks(submissions.map(beginOf)),
    ])
    const steps = begun.map((answer, i) => stepOf(submissions[i]!, answer))
    const fresh = steps.filter(({ begun }) => begun === 'ok')
    const repeated = steps.filter(({ begun }) => begun === 'repeated')
    const taken = steps.filter(({ begun }) => begun === 'taken')
    if (failure) {
      // Their callers are told that the outcome is unclear.
      await Promise.all([...fresh, ...repeated].map(step => this.#undo(step, failure)))
    } else {
      await Promise.all(taken.map(step => this.#unregister(step)))
      await this.#registerAgain(steps.filter(({ submission }) => submission.once))
      await Promise.all([this.#enqueue(fresh), ...repeated.map(step => this.#enqueueAgain(step))])
      // Not before, since what can't be queued is undone; what fails here is done by the reconciler.
      const copied = steps.filter(({ outcome }) => !(outcome instanceof Error) && outcome.channels.length > 0)
      await Promise.all(
        copied.map(({ outcome }) => this.#tasks.copyEvents(outcome as TaskRecord).catch(() => false)),
      )
    }
    return steps.map(({ outcome }) => outcome)
  }

  async #enqueue(steps: readonly Step[]): Promise<void> {
    const errors = await this.#admission.enqueue(steps.map(({ submission }) => submission.request))
    const failed = steps.flatMap((step, i) => (errors[i] ? [this.#undo(step, errors[i])] : []))
    await Promise.all(failed)
  }

  /** Whoever recorded the task may have died before it was queued. Where it has a job that one stays. */
  async #enqueueAgain(step: Step): Promise<void> {
    const { request, createdAt } = step.submission
    try {
      const task = await this.#tasks.loadState(request.id)
      if (task?.state !== 'queued' && task?.state !== 'scheduled') return
      const delayMs = Math.max(createdAt + request.delayMs - Date.now(), 0)
      const [error] = await this.#admission.enqueue([{ ...request, delayMs }])
      if (error) throw error
    } catch (error) {
      await this.#undo(step, error as Error)
    }
  }

  /** An entry from before a gateway was lost is old, and one without a record may just have been swept. */
  async #registerAgain(steps: readonly Step[]): Promise<void> {
    if (steps.length > 0) await this.#tasks.register(steps.map(keyOf)).catch(() => undefined)
  }

  /** What fails here the reconciler does. */
  async #unregister(step: Step): Promise<void> {
    const key = keyOf(step)
    try {
      const other = await this.#tasks.load(key.id)
      if (other?.createdAt !== key.createdAt) await this.#tasks.unregister(key)
    } catch {}
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
  return { ...submitted(request, createdAt), once }
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

// Takes a task from its job to an outcome: the steps of one run, from its record to its last event. Knows nothing
// of BullMQ; what becomes of the job is the answer.

import { isWritten, type TaskAppend } from '../shared/event-log.ts'
import type { Logger } from '../shared/log.ts'
import type { TaskStore } from '../shared/redis-tasks.ts'
import { isTerminal, type TaskError, type TaskRecord } from '../shared/task.ts'
import type { TaskQueue } from '../shared/task-queue.ts'
import { parseTaskFields } from '../shared/task-record.ts'
import { due, ended, retrying, started, startedFirst, type TaskOutcome } from '../shared/task-transitions.ts'
import { beforeRun, cancelledOutcome } from './before-run.ts'
import type { EndedTasks } from './ended-tasks.ts'
import { EventWriter } from './event-writer.ts'
import type { HandlerThreads } from './handler-threads.ts'
import { judgeRun, type Verdict } from './judge-run.ts'
import type { LoadedTask } from './load-tasks.ts'
import type { WorkerMetrics } from './metrics.ts'
import { retryDelayMs } from './retry-delay.ts'
import type { BegunRun, RunEnds } from './run-ends.ts'
import { runHandler, type Settlement } from './run-handler.ts'
import { createTaskContext } from './task-context.ts'
import { stackOf, toTaskError } from './task-failure.ts'
import type { TaskRun } from './task-run.ts'

/** What becomes of the job of a task. */
export type JobFate =
  /** The task has ended. */
  | { job: 'remove' }
  /** It runs again at a time, in ms since 1970. */
  | { job: 'delay'; until: number }
  /** It is removed, and its task held back until its concurrency key has room. */
  | { job: 'hold-back'; task: TaskRecord }
  /** It goes back to the queue for another worker. */
  | { job: 'hand-back' }
  /** It is no longer this worker's. */
  | { job: 'leave' }

/** A task whose run is under way. */
interface Running {
  readonly task: TaskRecord
  readonly loaded: LoadedTask
  readonly run: TaskRun
  readonly writer: EventWriter
}

export interface TaskRunnerParts {
  readonly tasks: TaskStore
  readonly queue: Pick<TaskQueue, 'admission' | 'enqueue'>
  readonly ended: EndedTasks
  readonly ends: RunEnds
  readonly threads: HandlerThreads
  readonly metrics: WorkerMetrics
  /** This worker, as `started` events name it. */
  readonly workerName: string
  readonly log: Logger
}

export class TaskRunner {
  readonly #tasks: TaskStore
  readonly #queue: TaskRunnerParts['queue']
  readonly #ended: EndedTasks
  readonly #ends: RunEnds
  readonly #threads: HandlerThreads
  readonly #metrics: WorkerMetrics
  readonly #workerName: string
  readonly #log: Logger

  constructor({ tasks, queue, ended, ends, threads, metrics, workerName, log }: TaskRunnerParts) {
    this.#tasks = tasks
    this.#queue = queue
    this.#ended = ended
    this.#ends = ends
    this.#threads = threads
    this.#metrics = metrics
    this.#workerName = workerName
    this.#log = log
  }

  /**
   * `begun` where the run began with the end of another one. Throws only for faults of Redis or our own; the job is then
   * tried again.
   */
  async run(loaded: LoadedTask, run: TaskRun, begun?: BegunRun): Promise<JobFate> {
    const now = begun?.startedAt ?? Date.now()
    // Most runs are first ones: one round trip says so, and begins it.
    const answer = await (begun?.answer ??
      this.#tasks.apply(run.taskId, startedFirst(run.taskId, this.#start(run, now))))
    if (answer.outcome !== 'ok') return this.#decide(loaded, run)
    const task = parseTaskFields(answer.fields ?? {})
    if (!task) throw new Error(`no state of ${run.taskId} was answered`)
    this.#noteWait(task, task.createdAt, now)
    return this.#attempt(loaded, task, run)
  }

  /** What comes next is not simply a first run. */
  async #decide(loaded: LoadedTask, run: TaskRun): Promise<JobFate> {
    const task = await this.#tasks.load(run.taskId)
    if (!task) return { job: 'remove' }
    // ioredis sends a command again when its connection breaks: our own first try may be what refuses the second.
    if (task.runToken === run.token) return this.#attempt(loaded, task, run)
    const before = beforeRun(task, Date.now())
    switch (before.step) {
      case 'none':
        return this.#close(task)
      case 'end':
        return this.#endUnstarted(task, before.outcome)
      case 'wait':
        await this.#queue.admission.makeRoom(task)
        return { job: 'delay', until: before.until }
      case 'run':
        return this.#begin(loaded, task, run)
    }
  }

  /** Once the job is gone, since the next one of the task would be taken for it: puts the task in line for its key. */
  async holdBack(task: TaskRecord): Promise<void> {
    if (task.state === 'scheduled') await this.#tasks.apply(task.id, due(task, Date.now()))
    await this.#queue.enqueue({ ...task, delayMs: 0 })
  }

  async #begin(loaded: LoadedTask, before: TaskRecord, run: TaskRun): Promise<JobFate> {
    if (!(await this.#queue.admission.begin(before))) return { job: 'hold-back', task: before }
    const now = Date.now()
    if (before.state === 'scheduled') await this.#tasks.apply(before.id, due(before, now))
    const answer = await this.#tasks.apply(before.id, started(before, this.#start(run, now)))
    const task = await this.#tasks.load(before.id)
    if (task?.runToken !== run.token) return this.#notOurs(before, answer)
    if (before.state !== 'running') this.#noteWait(task, before.runAt ?? before.createdAt, now)
    if (task.lostRuns > before.lostRuns) this.#metrics.recovered.inc()
    if (task.cancelRequested) run.stop('cancelled')
    return this.#attempt(loaded, task, run)
  }

  #start(run: TaskRun, now: number) {
    return { worker: this.#workerName, token: run.token, now }
  }

  async #attempt(loaded: LoadedTask, task: TaskRecord, run: TaskRun): Promise<JobFate> {
    this.#takeSlot(task)
    const writer = this.#openWriter(task, run)
    this.#metrics.running.inc({ type: task.type })
    try {
      const running = { task, loaded, run, writer }
      const parsed = loaded.parseInput(task.input)
      if (!parsed.ok) return await this.#end(running, { state: 'failed', error: invalidInput(parsed.errors) })
      const call = loaded.thread
        ? () => this.#threads.run(loaded, task, run, writer)
        : () => loaded.definition.run(parsed.input, createTaskContext(task, run, writer))
      const settlement = await runHandler(call, run, task.timeoutMs)
      this.#noteSettlement(task, settlement, run)
      const verdict = judgeRun(task, settlement, cause => run.isStoppedBy(cause))
      return await this.#conclude(running, verdict)
    } finally {
      this.#metrics.running.dec({ type: task.type })
      writer.close()
    }
  }

  /** A task has got its slot by now: this lets the next one of its key go to the queue. Where it fails, its end does. */
  #takeSlot(task: TaskRecord): void {
    this.#queue.admission
      .begin(task)
      .catch(error => this.#log.warn({ err: error, task: task.id }, 'the next task of a key was not let go'))
  }

  #openWriter(task: TaskRecord, run: TaskRun): EventWriter {
    const writer = new EventWriter(
      this.#tasks.log,
      {
        taskId: task.id,
        run: task.run,
        onCancelRequested: () => run.stop('cancelled'),
        onFenced: () => run.stop('lock-lost'),
      },
      this.#log,
    )
    run.onLost(() => writer.close())
    return writer
  }

  async #conclude(running: Running, verdict: Verdict): Promise<JobFate> {
    switch (verdict.kind) {
      case 'end':
        return this.#end(running, verdict.outcome)
      case 'retry':
        return this.#retry(running, verdict)
      case 'hand-back':
        await this.#tasks.markHandedBack(running.task.id, running.task.run)
        return { job: 'hand-back' }
      case 'leave':
        return { job: 'leave' }
    }
  }

  async #end(running: Running, outcome: TaskOutcome): Promise<JobFate> {
    const { task, run, writer } = running
    const full = outcome.state === 'cancelled' ? await this.#cancelled(task) : outcome
    const end = ended(task, full, { run: task.run, now: Date.now() })
    const answer = await writer.finish(end, (_, events, write) => this.#ends.end(run, events, write))
    if (answer.outcome === 'cancelling') return this.#end(running, { state: 'cancelled' })
    if (!isWritten(answer)) return this.#notOurs(task, answer)
    this.#noteEnd(task, full)
    return this.#close(task)
  }

  async #retry(running: Running, { error, retryAfterMs }: Verdict & { kind: 'retry' }): Promise<JobFate> {
    const { task, loaded, writer } = running
    const backoffMs = retryDelayMs(task.backoff ?? loaded.backoff ?? null, task.attempt)
    const delayMs = Math.max(backoffMs, retryAfterMs)
    const now = Date.now()
    const answer = await writer.finish(retrying(task, { run: task.run, error, delayMs, now }))
    if (answer.outcome === 'cancelling') return this.#end(running, { state: 'cancelled' })
    if (!isWritten(answer)) return this.#notOurs(task, answer)
    this.#metrics.retries.inc({ type: task.type })
    await this.#queue.admission.makeRoom(task)
    return { job: 'delay', until: now + delayMs }
  }

  async #endUnstarted(task: TaskRecord, outcome: TaskOutcome): Promise<JobFate> {
    const answer = await this.#tasks.apply(task.id, ended(task, outcome, { run: task.run, now: Date.now() }))
    if (answer.outcome === 'cancelling') return this.#endUnstarted(task, await this.#cancelled(task))
    if (!isWritten(answer)) return this.#notOurs(task, answer)
    this.#noteEnd(task, outcome)
    return this.#close(task)
  }

  async #cancelled({ id }: Pick<TaskRecord, 'id'>): Promise<TaskOutcome> {
    const [task] = await this.#tasks.loadHeaders([id])
    return cancelledOutcome(task ?? { cancelReason: null })
  }

  async #close(task: TaskRecord): Promise<JobFate> {
    this.#ended.add(task)
    // The task has ended all the same; what fails here is done by the reconciler.
    await this.#queue.admission
      .makeRoom(task)
      .catch(error =>
        this.#log.warn({ err: error, task: task.id }, 'no room was made for the next task of a key'),
      )
    return { job: 'remove' }
  }

  async #notOurs(task: TaskRecord, answer: TaskAppend): Promise<JobFate> {
    this.#log.info({ task: task.id, answer }, 'a task went on without this run')
    if (answer.outcome === 'unknown') return { job: 'remove' }
    if (answer.outcome === 'refused' && isTerminal(answer.state)) return this.#close(task)
    return { job: 'leave' }
  }

  #noteWait(task: TaskRecord, dueAt: number, now: number): void {
    this.#metrics.wait.observe({ type: task.type }, Math.max(now - dueAt, 0) / 1_000)
  }

  #noteEnd(task: TaskRecord, { state }: TaskOutcome): void {
    const labels = { type: task.type, state }
    this.#metrics.finished.inc(labels)
    if (task.startedAt !== null) this.#metrics.duration.observe(labels, (Date.now() - task.startedAt) / 1_000)
  }

  #noteSettlement(task: TaskRecord, settlement: Settlement, run: TaskRun): void {
    const about = { task: task.id, type: task.type, attempt: task.attempt, run: task.run }
    if (run.isStoppedBy('lock-lost')) {
      this.#log.warn(about, 'a run lost its lock: the task is left to the next one')
    } else if (settlement.how === 'cut-off') {
      this.#log.warn(about, 'a handler did not heed its signal and is no longer listened to')
    } else if (settlement.how === 'threw' && !run.isStopped) {
      const { error } = settlement
      this.#log.warn({ ...about, error: toTaskError(error), stack: stackOf(error) }, 'an attempt failed')
    }
  }
}

function invalidInput(faults: readonly { path: string; message: string }[]): TaskError {
  const text = faults.map(({ path, message }) => (path ? `${path}: ${message}` : message)).join('; ')
  return { ...toTaskError(text), code: 'invalid-input', retryable: false }
}

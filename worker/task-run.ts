// One run of a task on this worker, from outside its handler: why it has to stop, and how long it is waited for.

import { randomUUID } from 'node:crypto'

/** Why a run has to stop before its handler has ended. */
export type StopCause = 'cancelled' | 'timeout' | 'drain' | 'lock-lost'

/** From the abort of its signal, a handler has this long to end; then it is cut off and goes on unheard. */
const GRACE_MS: Readonly<Record<StopCause, number>> = {
  cancelled: 10_000,
  timeout: 10_000,
  drain: 2_000,
  'lock-lost': 0,
}

const MESSAGES: Readonly<Record<StopCause, string>> = {
  cancelled: 'the task was cancelled',
  timeout: 'the attempt took too long',
  drain: 'drain: the worker shuts down',
  'lock-lost': 'the task was taken over by another worker',
}

/** The reason of a handler's AbortSignal. */
export class RunStopped extends Error {
  override readonly name = 'AbortError'
  readonly code: StopCause

  constructor(cause: StopCause) {
    super(MESSAGES[cause])
    this.code = cause
  }
}

export class TaskRun {
  readonly taskId: string
  /** Of the job's lock; several runs can have the same, one after another. */
  readonly lockToken: string
  /** This run's alone. */
  readonly token: string
  /** Its last events are on their way, or written: the lock goes with them, and is not lost. */
  isEnding = false
  readonly #causes: StopCause[] = []
  readonly #timers: NodeJS.Timeout[] = []
  #controller: AbortController | undefined
  #onLost: (() => void) | undefined
  #isCutOff = false
  #onCutOff: (() => void)[] = []

  constructor(taskId: string, lockToken: string, token: string = randomUUID()) {
    this.taskId = taskId
    this.lockToken = lockToken
    this.token = token
  }

  /** The handler's. Its reason is an error with the first cause as `code`. */
  get signal(): AbortSignal {
    // Made when it is asked for: most handlers are over before, and it costs more than all else of a run.
    this.#controller ??= new AbortController()
    this.#abort()
    return this.#controller.signal
  }

  get isStopped(): boolean {
    return this.#causes.length > 0
  }

  /** Calls back when the task is no longer this worker's, at once if that is so. */
  onLost(listener: () => void): void {
    this.#onLost = listener
    if (this.isStoppedBy('lock-lost')) listener()
  }

  /** Calls back when the handler is no longer waited for, at once if that is so. */
  onCutOff(listener: () => void): void {
    if (this.#isCutOff) listener()
    else this.#onCutOff.push(listener)
  }

  /** Aborts the handler's signal and cuts it off when its grace is over. A run can have several causes. */
  stop(cause: StopCause): void {
    if (this.#causes.includes(cause)) return
    this.#causes.push(cause)
    if (cause === 'lock-lost') {
      this.#cutOff()
      this.#onLost?.()
    } else {
      this.#timers.push(setTimeout(() => this.#cutOff(), GRACE_MS[cause]))
    }
    this.#abort()
  }

  isStoppedBy(cause: StopCause): boolean {
    return this.#causes.includes(cause)
  }

  /** The run is over; nothing fires any more, and nothing of it is kept by whoever still knows of it. */
  end(): void {
    for (const timer of this.#timers) clearTimeout(timer)
    this.#onLost = undefined
    this.#onCutOff = []
  }

  #cutOff(): void {
    this.#isCutOff = true
    for (const listener of this.#onCutOff.splice(0)) listener()
  }

  #abort(): void {
    const [cause] = this.#causes
    if (cause && !this.#controller?.signal.aborted) this.#controller?.abort(new RunStopped(cause))
  }
}

/** The runs of this worker by task. A run that was lost may still be here when the task's next one begins. */
export class TaskRuns {
  readonly #runs = new Map<string, TaskRun>()

  get size(): number {
    return this.#runs.size
  }

  add(run: TaskRun): void {
    this.#runs.get(run.taskId)?.stop('lock-lost')
    this.#runs.set(run.taskId, run)
  }

  remove(run: TaskRun): void {
    run.end()
    if (this.#runs.get(run.taskId) === run) this.#runs.delete(run.taskId)
  }

  get(taskId: string): TaskRun | undefined {
    return this.#runs.get(taskId)
  }

  all(): TaskRun[] {
    return [...this.#runs.values()]
  }

  stopAll(cause: StopCause): void {
    for (const run of this.#runs.values()) run.stop(cause)
  }
}

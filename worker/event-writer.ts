// Writes the events of one run to the task's log, in order: while one append is under way the next events gather
// and go as one batch. Each append has a number within the run, so that one that is sent twice happens once.

import type { NewEvent } from '../shared/event.ts'
import type { EventLog, TaskAppend, TaskWrite } from '../shared/event-log.ts'
import type { Logger } from '../shared/log.ts'
import type { Transition } from '../shared/task-transitions.ts'
import { EventRefused } from './event-refused.ts'
import { type EventSink, PendingEvents } from './event-sink.ts'

/** Events of one append, which Redis carries out in one go. */
const MAX_BATCH_EVENTS = 100
/** At most 20 progress events a second. */
const PROGRESS_INTERVAL_MS = 50
/** Longer than the outages that a task is to live through. */
const RECORD_TIMEOUT_MS = 120_000
/** After Redis refused an append (out of memory, read-only), it is tried again this much later. */
const RETRY_MS = 500

/** The run that writes. */
export interface WriterRun {
  readonly taskId: string
  readonly run: number
  /** The task's record says that it is to be cancelled. */
  onCancelRequested(): void
  /** The run may no longer write: another one has begun, or the task has ended. */
  onFenced(): void
}

interface Entry {
  readonly event: NewEvent
  /** The last entry of its run. */
  readonly final?: Final
  resolve(answer: TaskAppend): void
  reject(error: Error): void
}

type AppendToTask = EventLog['appendToTask']

interface Final {
  /** The transition's own conditions and changes. */
  readonly write: TaskWrite
  readonly append: AppendToTask
}

interface Progress {
  readonly event: NewEvent
  /** What the task's record says of it. */
  readonly json: string
}

const FENCED: TaskAppend = { outcome: 'fenced', state: 'running' }

export class EventWriter implements EventSink {
  readonly #append: AppendToTask
  readonly #logger: Logger
  readonly #run: WriterRun
  readonly #unrecorded = new PendingEvents()
  /** Oldest first; an entry leaves it when it is recorded. */
  #pending: Entry[] = []
  #progress: Progress | null = null
  #progressTimer: NodeJS.Timeout | undefined
  #lastProgressAt = -PROGRESS_INTERVAL_MS
  #writes = 0
  #flushing = false
  #ending = false
  #closed = false
  #endPause: () => void = () => undefined

  constructor(log: Pick<EventLog, 'appendToTask'>, run: WriterRun, logger: Logger) {
    this.#append = (taskId, events, write) => log.appendToTask(taskId, events, write)
    this.#run = run
    this.#logger = logger
  }

  /** Waits while Redis is slow or away, for two minutes at most; what is late then may still be recorded. */
  async append(event: NewEvent): Promise<void> {
    this.#requireOpen()
    const leave = this.#unrecorded.enter(event)
    const recorded = this.#enqueue(event).finally(leave)
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(notRecorded()), RECORD_TIMEOUT_MS)
    })
    await Promise.race([recorded, late]).finally(() => clearTimeout(timer))
  }

  /** Of those that come within 50 ms the last one is recorded. */
  report(event: NewEvent, json: string): void {
    this.#requireOpen()
    this.#progress = { event, json }
    void this.#flush()
  }

  /**
   * Ends the run with a transition: after all events that were taken over, the last progress directly before
   * it. The handler is no longer listened to. Answers `cancelling`, and writes nothing but those events, when
   * the transition gives way to a cancellation that was asked for. `append` where more goes with it than events.
   */
  async finish({ event, write }: Transition, append: AppendToTask = this.#append): Promise<TaskAppend> {
    if (this.#closed) return FENCED
    this.#ending = true
    return this.#enqueue(event, { write, append })
  }

  /** Nothing is written any more; whatever is pending is refused. */
  close(): void {
    this.#ending = true
    this.#closed = true
    this.#endPause()
    clearTimeout(this.#progressTimer)
    for (const entry of this.#pending.splice(0)) {
      if (entry.final) entry.resolve(FENCED)
      else entry.reject(runEnded())
    }
    this.#progress = null
  }

  #requireOpen(): void {
    if (this.#ending) throw runEnded()
  }

  #enqueue(event: NewEvent, final?: Final): Promise<TaskAppend> {
    return new Promise((resolve, reject) => {
      this.#pending.push({ event, ...(final && { final }), resolve, reject })
      void this.#flush()
    })
  }

  async #flush(): Promise<void> {
    if (this.#flushing) return
    this.#flushing = true
    try {
      // Whatever the handler says in the same tick goes along.
      await Promise.resolve()
      while (!this.#closed) {
        const entries = this.#pending.slice(0, MAX_BATCH_EVENTS)
        const final = entries.at(-1)?.final
        const progress = final || this.#progressIsDue() ? this.#progress : null
        if (entries.length === 0 && !progress) break
        await this.#write(entries, final, progress)
      }
    } finally {
      this.#flushing = false
    }
  }

  /** If not, it is looked at again when it is. */
  #progressIsDue(): boolean {
    if (!this.#progress) return false
    const waitMs = this.#lastProgressAt + PROGRESS_INTERVAL_MS - performance.now()
    if (waitMs <= 0) return true
    this.#progressTimer ??= setTimeout(() => {
      this.#progressTimer = undefined
      void this.#flush()
    }, waitMs)
    return false
  }

  async #write(entries: Entry[], final: Final | undefined, progress: Progress | null): Promise<void> {
    const events = entries.map(entry => entry.event)
    if (progress) events.splice(final ? -1 : events.length, 0, progress.event)
    const write: TaskWrite = {
      ...(final?.write ?? { from: ['running'] }),
      run: this.#run.run,
      write: ++this.#writes,
      set: {
        ...(progress && { progress: progress.json }),
        ...final?.write.set,
      },
    }
    if (progress) this.#lastProgressAt = performance.now()
    const answer = await this.#appendUntilAnswered(events, write, final?.append ?? this.#append)
    if (answer) this.#settle(entries, progress, answer)
  }

  /** Null when the writer was closed meanwhile. */
  async #appendUntilAnswered(
    events: NewEvent[],
    write: TaskWrite,
    append: AppendToTask,
  ): Promise<TaskAppend | null> {
    while (!this.#closed) {
      try {
        return await append(this.#run.taskId, events, write)
      } catch (error) {
        this.#logger.warn({ err: error, task: this.#run.taskId }, 'events could not be recorded')
        await this.#pause()
      }
    }
    return null
  }

  /** Until the next try; closing the writer ends it. */
  async #pause(): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    await new Promise<void>(resolve => {
      timer = setTimeout(resolve, RETRY_MS)
      this.#endPause = resolve
    })
    clearTimeout(timer)
  }

  #settle(entries: Entry[], progress: Progress | null, answer: TaskAppend): void {
    switch (answer.outcome) {
      case 'ok':
      case 'repeated':
        if (this.#progress === progress) this.#progress = null
        for (const entry of this.#pending.splice(0, entries.length)) entry.resolve(answer)
        if (answer.cancelRequested) this.#run.onCancelRequested()
        break
      case 'cancelling':
        // Nothing was written: all but the transition stay for the one that comes instead.
        for (const entry of this.#pending.splice(entries.length - 1, 1)) entry.resolve(answer)
        break
      default:
        for (const entry of entries) if (entry.final) entry.resolve(answer)
        this.close()
        this.#run.onFenced()
    }
  }
}

function notRecorded(): EventRefused {
  return new EventRefused('event-late', 'the event could not be recorded in time; it may be recorded later')
}

function runEnded(): EventRefused {
  return new EventRefused('run-ended', 'the run of this task has ended: nothing is recorded any more')
}

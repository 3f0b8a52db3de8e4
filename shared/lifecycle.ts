// The life of a process: start, say that it is ready, stop once, in order, within a bound.

import type { Logger } from './log.ts'
import { StartupError } from './startup-error.ts'

/** A started part; parts are stopped in reverse order of their start. */
type Stop = () => Promise<void>

/** Past the time that a process needs to drain, it is given this long before it is ended by force. */
const STOP_MARGIN_MS = 10_000

export class Lifecycle {
  readonly #stops: { name: string; stop: Stop }[] = []
  readonly #log: Logger
  readonly #deadlineMs: number
  #stopping: Promise<void> | null = null

  /** `drainMs`: how long an orderly stop may take by design. */
  constructor(log: Logger, drainMs: number) {
    this.#log = log
    this.#deadlineMs = drainMs + STOP_MARGIN_MS
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => this.#exit(signal))
    // A forked process does not outlive its parent.
    if (process.send) process.on('disconnect', () => this.#exit('disconnect'))
    process.on('uncaughtException', error => {
      log.fatal({ err: error }, 'uncaught exception')
      process.exit(1)
    })
  }

  /** Registers what ends a part that has just started. */
  onStop(name: string, stop: Stop): void {
    this.#stops.push({ name, stop })
  }

  /** Says on the log, or to the parent of a forked process, that this process does its work. */
  ready(message: string, details: Record<string, unknown>): void {
    // A parent says it in its own way.
    if (process.send) process.send({ ready: true, ...details })
    else this.#log.info(details, message)
  }

  #exit(reason: string): void {
    if (this.#stopping) return
    this.#log.info({ reason }, 'stopping')
    setTimeout(() => {
      this.#log.error('stopping took too long')
      process.exit(1)
    }, this.#deadlineMs).unref()
    this.#stopping = this.#stopAll().then(
      () => process.exit(0),
      () => process.exit(1),
    )
  }

  async #stopAll(): Promise<void> {
    let failed = false
    for (const { name, stop } of this.#stops.reverse()) {
      await stop().catch(error => {
        failed = true
        this.#log.error({ err: error, part: name }, 'a part did not stop cleanly')
      })
    }
    this.#log.info('stopped')
    if (failed) throw new Error('not every part stopped cleanly')
  }
}

/** Runs a process; a failure to start is one line on stderr and exit code 1. */
export function runProcess(start: () => Promise<void>): void {
  start().catch((error: unknown) => {
    const text =
      error instanceof StartupError
        ? error.message
        : error instanceof Error
          ? (error.stack ?? error.message)
          : String(error)
    process.stderr.write(`${text}\n`)
    process.exit(1)
  })
}

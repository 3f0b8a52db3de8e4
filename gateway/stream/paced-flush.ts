// When to write: at once at rest, in growing batches under load. After a flush that took D ms the next one
// starts no earlier than D ms after its end, so that writing takes at most half of the event loop.

/** However long a flush took, the next one waits no longer than this. */
const MAX_PAUSE_MS = 25

export class PacedFlush {
  readonly #flush: () => void
  #pending = false
  #notBefore = 0

  constructor(flush: () => void) {
    this.#flush = flush
  }

  /** Whether what is asked for now is written at once. */
  get isAtRest(): boolean {
    return !this.#pending && this.#notBefore <= performance.now()
  }

  /** Asks for a flush; what is asked for until it runs goes with it. */
  request(): void {
    if (this.#pending) return
    this.#pending = true
    const waitMs = this.#notBefore - performance.now()
    if (waitMs > 0) setTimeout(this.#run, waitMs)
    else setImmediate(this.#run)
  }

  readonly #run = (): void => {
    this.#pending = false
    const startedAt = performance.now()
    this.#flush()
    const endedAt = performance.now()
    this.#notBefore = endedAt + Math.min(endedAt - startedAt, MAX_PAUSE_MS)
  }
}

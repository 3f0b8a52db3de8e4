// Notices a worker that has stopped taking tasks although tasks wait and it could take some. Whether its loop
// runs, or its connection is up, does not tell.

import type { Health } from '../shared/ops-server.ts'
import type { QueueState } from './queue-state.ts'

const CHECK_INTERVAL_MS = 5_000
/** A free worker takes a waiting task within milliseconds. */
const WEDGED_AFTER_MS = 30_000

/** What is watched. */
export interface TaskTaker {
  /** Whether it would take a task now. */
  hasRoom(): boolean
  /** Tasks taken so far. */
  taken(): number
}

export class Liveness {
  readonly #taker: TaskTaker
  readonly #queueState: QueueState
  #timer: NodeJS.Timeout | undefined
  #idleSince: number | null = null
  #takenThen = 0

  constructor(taker: TaskTaker, queueState: QueueState) {
    this.#taker = taker
    this.#queueState = queueState
  }

  start(): void {
    this.#timer = setInterval(() => void this.observe(performance.now()), CHECK_INTERVAL_MS)
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  /** `now` in ms on a clock that never goes back. */
  async observe(now: number): Promise<void> {
    const state = await this.#queueState.read()
    const idle = (state?.counts.queued ?? 0) > 0 && this.#taker.hasRoom()
    if (!idle || this.#taker.taken() !== this.#takenThen) this.#idleSince = null
    else this.#idleSince ??= now
    this.#takenThen = this.#taker.taken()
  }

  check(now = performance.now()): Health {
    const wedged = this.#idleSince !== null && now - this.#idleSince >= WEDGED_AFTER_MS
    return { ok: !wedged, problems: wedged ? ['tasks wait, but this worker takes none'] : [] }
  }
}

// Counts what a sequence of event ids says about the events: how many came, were lost, came twice. Pure.

import { distance } from './position.js'

export class SequenceCheck {
  received = 0
  replayed = 0
  lost = 0
  doubled = 0
  #last = null

  /** Takes the next id; `replayed` says that it came out of the log after a break. */
  take(id, replayed) {
    const ahead = this.#last === null ? 1 : distance(this.#last, id)
    this.received++
    if (replayed) this.replayed++
    if (ahead <= 0) {
      this.doubled++
      return
    }
    // A log that began anew says nothing of the one before; the broker tells of it with a `gap`.
    if (ahead !== Infinity) this.lost += ahead - 1
    this.#last = id
  }
}

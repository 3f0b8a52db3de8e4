// Where a handler's events go: to the writer of its run, or from a thread to that. And the bound on those that wait.

import type { NewEvent } from '../shared/event.ts'
import { EventRefused } from './event-refused.ts'

export interface EventSink {
  /** Records an event; resolves when it is in the log. Rejects with {@link EventRefused}. */
  append(event: NewEvent): Promise<void>
  /** Takes over a progress event and its form in the task's record; the latest counts. */
  report(event: NewEvent, json: string): void
}

/** Events that are not recorded yet; a handler that does not await is refused past either. */
const MAX_EVENTS = 1_000
const MAX_BYTES = 4 * 1024 * 1024

export class PendingEvents {
  #count = 0
  #bytes = 0
  #onEmpty: () => void = () => undefined

  /** Lets an event wait until the returned function is called. Throws {@link EventRefused}. */
  enter(event: NewEvent): () => void {
    const bytes = Buffer.byteLength(event.data)
    if (this.#count >= MAX_EVENTS || this.#bytes + bytes > MAX_BYTES) {
      throw new EventRefused(
        'too-many-pending-events',
        'too many events are waiting to be recorded: await each call of the context',
      )
    }
    this.#count++
    this.#bytes += bytes
    return () => {
      this.#count--
      this.#bytes -= bytes
      if (this.#count === 0) this.#onEmpty()
    }
  }

  /** Resolves when no event waits. */
  async empty(): Promise<void> {
    if (this.#count > 0) await new Promise<void>(resolve => (this.#onEmpty = resolve))
  }
}

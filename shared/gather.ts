// Gathers what comes at about the same time, to be done by one command: a command costs its client more than what it
// carries costs Redis. Each item is answered by itself.

interface Waiting<Item, Answer> {
  readonly item: Item
  resolve(answer: Answer): void
  reject(error: Error): void
}

/** A longer item goes by itself, so that no script is long. */
const MAX_GATHERED_CHARS = 8 * 1024

export class Gather<Item, Answer> {
  readonly #send: (items: readonly Item[]) => Promise<(Answer | Error)[]>
  readonly #soon: (send: () => void) => void
  readonly #max: number
  #waiting: Waiting<Item, Answer>[] = []

  /**
   * What comes until `soon` calls back goes together to `send`, which answers for each: by `process.nextTick` what follows
   * from one event of the loop, by `setImmediate` from one turn. `max` are sent at once, without waiting for more: Redis
   * then works on them while this process still makes the next. It is also what bounds a script, which nothing interrupts.
   */
  constructor(
    send: (items: readonly Item[]) => Promise<(Answer | Error)[]>,
    soon: (send: () => void) => void,
    max: number,
  ) {
    this.#send = send
    this.#soon = soon
    this.#max = max
  }

  /** `chars`: its length, where it can be long. Rejects with what is answered for this item, or with what all that went with it met. */
  add(item: Item, chars = 0): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const waiting = { item, resolve, reject }
      if (chars > MAX_GATHERED_CHARS) void this.#sendAll([waiting])
      else this.#wait(waiting)
    })
  }

  #wait(item: Waiting<Item, Answer>): void {
    const waiting = this.#waiting.push(item)
    if (waiting === this.#max) this.#sendWaiting()
    else if (waiting === 1) this.#soon(this.#sendWaiting)
  }

  readonly #sendWaiting = (): void => {
    const all = this.#waiting
    if (all.length === 0) return
    this.#waiting = []
    void this.#sendAll(all)
  }

  async #sendAll(all: readonly Waiting<Item, Answer>[]): Promise<void> {
    try {
      const answers = await this.#send(all.map(({ item }) => item))
      for (const [i, { resolve, reject }] of all.entries()) {
        const answer = answers[i] as Answer | Error
        if (answer instanceof Error) reject(answer)
        else resolve(answer)
      }
    } catch (error) {
      for (const { reject } of all) reject(error as Error)
    }
  }
}

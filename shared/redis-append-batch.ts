// Sends appends that come at about the same time as one script, since a command costs its client more than an append
// costs Redis. Each of them is answered by itself.

import { type Redis, ReplyError } from 'ioredis'

export type Argument = string | number

/** What append-event.lua answers. */
export type AppendReply = [
  outcome?: string,
  detail?: string,
  cancel?: string,
  channels?: string,
  values?: (string | null)[],
]

interface Append {
  readonly keys: readonly string[]
  readonly args: readonly Argument[]
  resolve(reply: AppendReply): void
  reject(error: Error): void
}

interface BatchCommand {
  millraceAppendBatch(numberOfKeys: number, args: Argument[]): Promise<AppendReply[]>
}

/** Of one script, which nothing interrupts. */
const MAX_APPENDS = 100

export class AppendBatch {
  readonly #redis: Redis & BatchCommand
  readonly #soon: (send: () => void) => void
  #gathered: Append[] = []

  /**
   * `append` is the text of append-event.lua and what it needs. What comes until `soon` calls back goes together:
   * by `process.nextTick` what follows from one event of the loop, by `setImmediate` from one turn of it.
   */
  constructor(redis: Redis, append: string, batch: string, soon: (send: () => void) => void) {
    redis.defineCommand('millraceAppendBatch', {
      lua: `local function append(KEYS, ARGV)\n${append}\nend\n${batch}`,
    })
    this.#redis = redis as Redis & BatchCommand
    this.#soon = soon
  }

  /** Rejects with what Redis says to this append, or to all that went with it. */
  append(keys: readonly string[], args: readonly Argument[]): Promise<AppendReply> {
    return new Promise((resolve, reject) => {
      if (this.#gathered.push({ keys, args, resolve, reject }) === 1) this.#soon(() => this.#send())
    })
  }

  #send(): void {
    const appends = this.#gathered
    this.#gathered = []
    for (let i = 0; i < appends.length; i += MAX_APPENDS)
      void this.#sendBatch(appends.slice(i, i + MAX_APPENDS))
  }

  async #sendBatch(appends: readonly Append[]): Promise<void> {
    const keys = appends.flatMap(append => append.keys)
    const args: Argument[] = [...keys]
    for (const append of appends) args.push(append.keys.length, append.args.length, ...append.args)
    try {
      const replies = await this.#redis.millraceAppendBatch(keys.length, args)
      for (const [i, { resolve, reject }] of appends.entries()) {
        const reply = replies[i] ?? []
        if (reply[0] === 'failed') reject(new ReplyError(reply[1] ?? ''))
        else resolve(reply)
      }
    } catch (error) {
      for (const { reject } of appends) reject(error as Error)
    }
  }
}

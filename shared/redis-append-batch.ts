// Sends the appends to tasks that come in one turn of the event loop as one script, since a command costs its client
// more than an append costs Redis. Each of them is answered by itself.

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
  #gathered: Append[] = []

  /** `append` is the text of append-event.lua and what it needs. */
  constructor(redis: Redis, append: string, batch: string) {
    redis.defineCommand('millraceAppendBatch', {
      lua: `local function append(KEYS, ARGV)\n${append}\nend\n${batch}`,
    })
    this.#redis = redis as Redis & BatchCommand
  }

  /** Rejects with what Redis says to this append, or to all that went with it. */
  append(keys: readonly string[], args: readonly Argument[]): Promise<AppendReply> {
    return new Promise((resolve, reject) => {
      // The next tick begins when all promises that are settled by now have been heard.
      if (this.#gathered.push({ keys, args, resolve, reject }) === 1) process.nextTick(() => this.#send())
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

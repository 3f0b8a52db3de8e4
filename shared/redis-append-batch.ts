// Sends appends that come at about the same time as one script, since a command costs its client more than an append
// costs Redis. Each of them is answered by itself. The one caller of append-batch.lua.

import { type Redis, ReplyError } from 'ioredis'

/**
 * An append as append-to-log.lua and append-event.lua describe it; it is sent as JSON, since an argument of a command
 * costs more than what it says. Texts in it are well-formed: of others Lua can't read the JSON.
 */
export interface Append {
  readonly topic: string
  readonly maxEvents: number
  readonly expireMs: number | undefined
  readonly known: string | undefined
  readonly events: readonly (readonly [type: string, time: string, format: string])[]
  readonly once: readonly [fingerprint: string, keptMs: number] | undefined
  task: TaskCondition | undefined
}

interface TaskCondition {
  readonly from: string
  readonly run: number | undefined
  readonly write: number | undefined
  readonly givesWay: boolean | undefined
  readonly startBy: number | undefined
  readonly set: readonly string[]
  readonly unset: readonly string[] | undefined
  readonly answersFields: boolean | undefined
}

/** What append-event.lua answers. */
export type AppendReply = [
  outcome?: string,
  detail?: string,
  cancel?: string,
  channels?: string,
  fields?: string,
]

/** What waits to be sent. */
interface Gathered {
  readonly keys: readonly string[]
  readonly append: string
  readonly data: readonly string[]
  resolve(reply: AppendReply): void
  reject(error: Error): void
}

interface BatchCommand {
  /** Arguments as one array: ioredis copies those that are spread several times. */
  millraceAppendBatch(numberOfKeys: number, args: (string | number)[]): Promise<AppendReply[]>
}

/** A longer append goes by itself, so that no script is long. */
const MAX_BATCHED_CHARS = 8 * 1024

export class AppendBatch {
  readonly #redis: Redis & BatchCommand
  readonly #soon: (send: () => void) => void
  readonly #maxAppends: number
  #gathered: Gathered[] = []

  /**
   * `lua` is the text of append-batch.lua and what it needs. What comes until `soon` calls back goes together, as far as
   * one script takes: by `process.nextTick` what follows from one event of the loop, by `setImmediate` from one turn.
   * `maxAppends` are sent at once, without waiting for more: Redis then works on them while this process still makes the
   * next. It is also what bounds a script, which nothing interrupts.
   */
  constructor(redis: Redis, lua: string, soon: (send: () => void) => void, maxAppends: number) {
    redis.defineCommand('millraceAppendBatch', { lua })
    this.#redis = redis as Redis & BatchCommand
    this.#soon = soon
    this.#maxAppends = maxAppends
  }

  /** `data` is that of each event. Rejects with what Redis says to this append, or to all that went with it. */
  append(keys: readonly string[], append: Append, data: readonly string[]): Promise<AppendReply> {
    return new Promise((resolve, reject) => {
      const gathered = { keys, append: JSON.stringify(append), data, resolve, reject }
      if (isLong(gathered)) void this.#sendBatch([gathered])
      else this.#gather(gathered)
    })
  }

  #gather(append: Gathered): void {
    const waiting = this.#gathered.push(append)
    if (waiting === 1) this.#soon(this.#send)
    else if (waiting === this.#maxAppends) this.#send()
  }

  readonly #send = (): void => {
    const appends = this.#gathered
    if (appends.length === 0) return
    this.#gathered = []
    void this.#sendBatch(appends)
  }

  async #sendBatch(appends: readonly Gathered[]): Promise<void> {
    const args: (string | number)[] = appends.flatMap(({ keys }) => keys)
    const numberOfKeys = args.length
    for (const { keys, append, data } of appends) args.push(keys.length, append, ...data)
    try {
      const replies = await this.#redis.millraceAppendBatch(numberOfKeys, args)
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

function isLong({ append, data }: Gathered): boolean {
  let chars = append.length
  for (const text of data) chars += text.length
  return chars > MAX_BATCHED_CHARS
}

// Sends appends that come at about the same time as one script, since a command costs its client more than an append
// costs Redis. Each of them is answered by itself. The one caller of append-batch.lua.

import { readFileSync } from 'node:fs'
import { type Redis, ReplyError } from 'ioredis'
import { Gather } from './gather.ts'

/** What append-event.lua answers. */
export type AppendReply = [
  outcome?: string,
  detail?: string,
  cancel?: string,
  channels?: string,
  fields?: string,
]

/** An append to one log, as scripts take it. */
export interface ScriptAppend {
  readonly keys: readonly string[]
  /** An {@link Append} as JSON. */
  readonly append: string
  /** That of each event. */
  readonly data: readonly string[]
}

const lua = (name: string): string => readFileSync(new URL(name, import.meta.url), 'utf8')

/** What stands before scripts that append: `appendToLog`. */
export const APPEND_TO_LOG = lua('./append-to-log.lua')
/** What stands before scripts that append to logs of tasks too: `appendEvent`. */
export const APPEND_EVENT = APPEND_TO_LOG + lua('./append-event.lua')
const APPEND_BATCH = APPEND_EVENT + lua('./append-batch.lua')

interface BatchCommand {
  /** Arguments as one array: ioredis copies those that are spread several times. */
  millraceAppendBatch(numberOfKeys: number, args: (string | number)[]): Promise<(AppendReply | string)[]>
}

export class AppendBatch {
  readonly #redis: Redis & BatchCommand
  readonly #gather: Gather<ScriptAppend, AppendReply>

  /** `soon` and `maxAppends` as {@link Gather} takes them. */
  constructor(redis: Redis, soon: (send: () => void) => void, maxAppends: number) {
    redis.defineCommand('millraceAppendBatch', { lua: APPEND_BATCH })
    this.#redis = redis as Redis & BatchCommand
    this.#gather = new Gather(appends => this.#send(appends), soon, maxAppends)
  }

  /** Rejects with what Redis says to this append, or to all that went with it. */
  append(append: ScriptAppend): Promise<AppendReply> {
    return this.#gather.add(append, sizeOf(append))
  }

  async #send(appends: readonly ScriptAppend[]): Promise<(AppendReply | Error)[]> {
    const args: (string | number)[] = appends.flatMap(({ keys }) => keys)
    const numberOfKeys = args.length
    for (const { keys, append, data } of appends) args.push(keys.length, append, ...data)
    const replies = await this.#redis.millraceAppendBatch(numberOfKeys, args)
    return appends.map((_, i) => {
      const reply = replies[i]
      return typeof reply === 'string' ? ['ok', reply] : orError(reply)
    })
  }
}

/** What stands for an append that failed is made an error. */
export function orError(reply: AppendReply = []): AppendReply | Error {
  return reply[0] === 'failed' ? new ReplyError(reply[1] ?? '') : reply
}

/** In characters. */
export function sizeOf({ append, data }: ScriptAppend): number {
  let chars = append.length
  for (const text of data) chars += text.length
  return chars
}

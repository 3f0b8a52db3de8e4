// What a client was given of one channel, in the order of arrival. Columns of numbers, since a long run has
// millions of them.

import { crc32 } from 'node:zlib'
import type { Position } from '../../shared/event-id.ts'

export class ChannelRecord {
  /** Where the client began: the log is compared from here. Null until it has been told. */
  start: Position | null = null
  readonly epochs: number[] = []
  readonly seqs: number[] = []
  readonly checksums: number[] = []
  /** When each came, in ms from the start of the run. */
  readonly times: number[] = []

  get length(): number {
    return this.seqs.length
  }

  add({ epoch, seq }: Position, checksum: number, timeMs: number): void {
    this.epochs.push(epoch)
    this.seqs.push(seq)
    this.checksums.push(checksum)
    this.times.push(timeMs)
  }

  at(index: number): Position {
    return { epoch: this.epochs[index]!, seq: this.seqs[index]! }
  }
}

/** What an event says, as one number. `data`: JSON text, or the text itself. */
export function checksumOf(type: string, data: string): number {
  return crc32(`${type}\n${data}`)
}

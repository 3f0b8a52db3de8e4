// Ids for tasks that are submitted without one: UUIDs of version 7, in the order in which they are made.

import { randomBytes } from 'node:crypto'
import { v7 } from 'uuid'

const BYTES = 16
/** To draw random bytes for each id by itself is most of what an id costs. */
const DRAWN = 256

let random = Buffer.alloc(0)
let msecs = 0
let seq = 0

export function newTaskId(): string {
  if (random.length === 0) random = randomBytes(DRAWN * BYTES)
  const bytes = random.subarray(0, BYTES)
  random = random.subarray(BYTES)
  const now = Date.now()
  if (now > msecs) {
    msecs = now
    // Leaves room for those of the same millisecond, or for as long as the clock is behind.
    seq = bytes.readUInt32BE() >>> 2
  } else seq++
  return v7({ random: bytes, msecs, seq })
}

// Cursors: what a connection sends as SSE `id`. For one channel a position; for several a vector of
// positions, bound to its set of channels. Pure.

import { createHash } from 'node:crypto'
import { formatPosition, ORIGIN, type Position, parsePosition } from '../../shared/event-id.ts'

/** Characters of the digest that binds a vector to its channels: 48 bits, enough to tell sets apart. */
const DIGEST_LENGTH = 8

/** How a connection writes and reads its cursor. `channels` fixes the order of the positions. */
export interface CursorCodec {
  readonly channels: readonly string[]
  format(positions: readonly Position[]): string
  /** The position of each channel; null when the text is no cursor of these channels. */
  parse(text: string): Position[] | null
}

/** The cursor of one channel: `<epoch>-<seq>`. */
export function singleCursor(channel: string): CursorCodec {
  return {
    channels: [channel],
    format: ([position = ORIGIN]) => formatPosition(position),
    parse: text => {
      const position = parsePosition(text)
      return position && [position]
    },
  }
}

/**
 * The cursor of several channels: `<digest of the channels>.<position>.<position>…` in the order of the
 * sorted names, each position as `<epoch>-<seq>` in base 36, since the whole vector goes with each event.
 */
export function vectorCursor(channelNames: readonly string[]): CursorCodec {
  const channels = [...new Set(channelNames)].sort()
  const digest = createHash('sha256').update(channels.join(' ')).digest('base64url').slice(0, DIGEST_LENGTH)
  return {
    channels,
    format: positions => [digest, ...positions.map(formatBase36)].join('.'),
    parse: text => {
      const [tag, ...parts] = text.split('.')
      if (tag !== digest || parts.length !== channels.length) return null
      const positions = parts.map(parseBase36)
      return positions.every(position => position !== null) ? positions : null
    },
  }
}

function formatBase36({ epoch, seq }: Position): string {
  return `${epoch.toString(36)}-${seq.toString(36)}`
}

function parseBase36(text: string): Position | null {
  const match = /^([0-9a-z]{1,10})-([0-9a-z]{1,10})$/.exec(text)
  return match ? { epoch: Number.parseInt(match[1]!, 36), seq: Number.parseInt(match[2]!, 36) } : null
}

// Event ids and positions: pure arithmetic on `<epoch>-<seq>`. Knows nothing of Redis or HTTP.

/**
 * The place of one event in one channel. `epoch` is the time in ms at which the channel's log was created;
 * `seq` counts 1, 2, 3 … without holes. A position with `seq` 0 stands before the first event of its epoch.
 */
export interface Position {
  readonly epoch: number
  readonly seq: number
}

/** Before every event of every epoch: where a subscriber of a channel without a log stands. */
export const ORIGIN: Position = { epoch: 0, seq: 0 }

const ID = /^(\d{1,15})-(\d{1,15})$/

/** Parses `<epoch>-<seq>`; null when the text is not an event id. */
export function parsePosition(text: string): Position | null {
  const match = ID.exec(text)
  return match ? { epoch: Number(match[1]), seq: Number(match[2]) } : null
}

/** As {@link parsePosition}, of ids that Redis gives. */
export function requirePosition(id: string | undefined): Position {
  const position = id === undefined ? null : parsePosition(id)
  if (!position) throw new Error(`not an event id in the log: ${id}`)
  return position
}

/** The wire form, `<epoch>-<seq>`. */
export function formatPosition(position: Position): string {
  return `${position.epoch}-${position.seq}`
}

/** Negative when `a` comes before `b`, 0 when equal, positive when after. */
export function comparePositions(a: Position, b: Position): number {
  return a.epoch - b.epoch || a.seq - b.seq
}

/**
 * What an event at `next` is to a subscriber at `position`: the exact successor, a duplicate of something
 * seen, or the far side of a hole. From ORIGIN the first event of any epoch is the successor.
 */
export function relate(position: Position, next: Position): 'successor' | 'duplicate' | 'hole' {
  if (next.epoch === position.epoch) {
    if (next.seq === position.seq + 1) return 'successor'
    return next.seq <= position.seq ? 'duplicate' : 'hole'
  }
  if (next.epoch < position.epoch) return 'duplicate'
  return position.epoch === 0 && next.seq === 1 ? 'successor' : 'hole'
}

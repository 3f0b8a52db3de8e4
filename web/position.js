// Positions in a channel: `<epoch>-<seq>`, where `seq` counts 1, 2, 3 … without holes.

/** How far position `to` is ahead of `from`: 1 for the very next event, 0 or less if not later, else epochs apart. */
export function distance(from, to) {
  const [fromEpoch, fromSeq] = from.split('-').map(Number)
  const [toEpoch, toSeq] = to.split('-').map(Number)
  return fromEpoch === toEpoch ? toSeq - fromSeq : (toEpoch - fromEpoch) * Infinity
}

// Counts latencies in buckets whose width grows with the value (log-linear, as in HdrHistogram). Our own, since
// at two million values a second a call into a library would make the load client the limit.

/** Buckets in each doubling; the error of a percentile is below 0.8 %. */
const STEPS_BITS = 7
const STEPS = 1 << STEPS_BITS
const BUCKETS = (32 - STEPS_BITS) * STEPS
/** About 36 minutes; what is longer counts as this. */
const MAX_US = 2 ** 31 - 1

export class LatencyHistogram {
  readonly #counts = new Float64Array(BUCKETS)
  #total = 0

  /** Microseconds; below 0 counts as 0. */
  record(us: number): void {
    this.#counts[bucketOf(us < 0 ? 0 : Math.min(us, MAX_US))]! += 1
    this.#total++
  }

  clear(): void {
    this.#counts.fill(0)
    this.#total = 0
  }

  /** In milliseconds; `share` is between 0 and 1. NaN when nothing was recorded. */
  percentileMs(share: number): number {
    const wanted = Math.max(1, Math.ceil(share * this.#total))
    let seen = 0
    for (let i = 0; i < BUCKETS; i++) {
      seen += this.#counts[i]!
      if (seen >= wanted) return middleOf(i) / 1000
    }
    return Number.NaN
  }
}

function bucketOf(us: number): number {
  if (us < STEPS) return us | 0
  const shift = 31 - Math.clz32(us) - STEPS_BITS
  return ((shift + 1) << STEPS_BITS) + ((us >> shift) & (STEPS - 1))
}

function middleOf(bucket: number): number {
  if (bucket < STEPS) return bucket
  const shift = (bucket >> STEPS_BITS) - 1
  const lowest = ((bucket & (STEPS - 1)) | STEPS) * 2 ** shift
  return lowest + 2 ** shift / 2
}

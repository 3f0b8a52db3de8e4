// What the last ten minutes of `demo:system` say of each process and of the queue, in columns for charts. Pure.

const WINDOW_MS = 600_000
const STEP_MS = 2_000 // every process tells of itself once in this time
const GONE_AFTER_MS = 10_000
const MAX_PROCESSES = 50
/** What the queue's samples are kept under; no process has this name. */
export const QUEUE = Symbol('queue')

/** Time is what the events say, since the clock of the page may differ from the broker's. */
export class SystemSamples {
  #sources = new Map() // name → { name, type, samples: [{ at, data }] }
  #latest = 0

  /** Takes an event: `gateway`, `worker` or `queue`. */
  take({ type, time, data }) {
    if (!['gateway', 'worker', 'queue'].includes(type) || typeof data !== 'object' || !data) return
    const name = type === 'queue' ? QUEUE : String(data.name)
    const source = this.#sources.get(name) ?? { name, type, samples: [] }
    if (!this.#sources.has(name) && this.#sources.size > MAX_PROCESSES && name !== QUEUE) return
    this.#sources.set(name, source)
    const at = Date.parse(time)
    this.#latest = Math.max(this.#latest, at)
    source.samples.push({ at, data })
    while (source.samples[0].at < this.#latest - WINDOW_MS) source.samples.shift()
    for (const [other, { samples }] of this.#sources) {
      if (this.#latest - samples.at(-1).at > GONE_AFTER_MS) this.#sources.delete(other)
    }
  }

  /** The processes that are there, gateways first: `[{ name, type, last }]`, `last` being what they said last. */
  get processes() {
    return [...this.#sources.values()]
      .filter(({ name }) => name !== QUEUE)
      .map(({ name, type, samples }) => ({ name, type, last: samples.at(-1).data }))
      .sort((a, b) => a.type.localeCompare(b.type) || a.name.localeCompare(b.name, 'en', { numeric: true }))
  }

  /** What was said of the queue last; null before anything was. */
  get queue() {
    return this.#sources.get(QUEUE)?.samples.at(-1).data ?? null
  }

  /** From ten minutes ago until the last sample, in seconds since 1970, a step at a time. */
  get times() {
    const end = Math.floor(this.#latest / STEP_MS)
    const steps = WINDOW_MS / STEP_MS
    return Array.from({ length: steps + 1 }, (_, i) => ((end - steps + i) * STEP_MS) / 1_000)
  }

  /** A field of a process over `times` in some unit, null where it said nothing. */
  column(name, field, unit = 1) {
    const first = Math.floor(this.#latest / STEP_MS) - WINDOW_MS / STEP_MS
    const column = new Array(WINDOW_MS / STEP_MS + 1).fill(null)
    for (const { at, data } of this.#sources.get(name)?.samples ?? []) {
      const value = data[field]
      if (Number.isFinite(value)) column[Math.floor(at / STEP_MS) - first] = value / unit
    }
    return column
  }
}

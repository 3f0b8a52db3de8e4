// Follows a changing set of channels over ONE EventSource, each event once and in order. Knows nothing of tasks.

const MAX_CHANNELS = 50 // the server's limit for one connection; more wait until a followed one is dropped
const FIRST_RETRY_MS = 1_000
const LAST_RETRY_MS = 30_000

/**
 * A cursor belongs to one set of channels, so a new set is read from the start of its logs, and what was seen
 * before is left out by its position. Within one set, the browser resumes by itself with `Last-Event-ID`.
 */
export class EventStream {
  #seen = new Map() // channel → position of its last event, null before the first
  #source = null
  #timer = 0
  #failures = 0
  #options

  /**
   * @param {{ onEvent(event: { channel, id, type, time, data }): void,
   *   onState(state: 'connecting' | 'live' | 'reconnecting' | 'offline' | 'ended', retryMs?: number): void,
   *   beforeRetry(): Promise<void> }} options `beforeRetry` runs after the browser gave up, before the next try:
   *   the moment to drop channels that are no more.
   */
  constructor(options) {
    this.#options = options
    addEventListener('online', () => this.#open())
    addEventListener('offline', () => this.#lost())
  }

  get channels() {
    return [...this.#seen.keys()]
  }

  add(channels) {
    const fresh = channels.filter(channel => !this.#seen.has(channel))
    for (const channel of fresh) this.#seen.set(channel, null)
    if (fresh.length > 0 || this.#seen.size === 0) this.#open()
  }

  /** Stops following a channel. The connection stays as it is, unless another channel waits for the free place. */
  drop(channel) {
    this.#seen.delete(channel)
    if (this.#seen.size === 0 || this.#seen.size >= MAX_CHANNELS) this.#open()
  }

  #open() {
    const isChange = this.#source?.readyState === EventSource.OPEN
    clearTimeout(this.#timer)
    this.#source?.close()
    if (this.#seen.size === 0) return this.#options.onState('ended')
    if (!isChange) this.#options.onState('connecting')
    const query = new URLSearchParams({ named: 'false' })
    for (const channel of this.channels.slice(0, MAX_CHANNELS)) query.append('channel', channel)
    const source = new EventSource(`/v1/events?${query}`)
    source.onopen = () => {
      this.#failures = 0
      this.#options.onState('live')
    }
    source.onmessage = message => this.#receive(JSON.parse(message.data))
    source.onerror = () => (source.readyState === EventSource.CLOSED ? this.#retryLater() : this.#lost())
    this.#source = source
  }

  #lost() {
    if (this.#seen.size > 0) this.#options.onState(navigator.onLine ? 'reconnecting' : 'offline')
  }

  /** An EventSource gives up for good on an error status, such as a load balancer's 503. We don't. */
  #retryLater() {
    const cap = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** this.#failures++)
    const delayMs = cap * (0.5 + Math.random() / 2)
    this.#options.onState('offline', delayMs)
    this.#timer = setTimeout(() => this.#options.beforeRetry().finally(() => this.#open()), delayMs)
  }

  #receive(event) {
    const { channel, id, type } = event
    if (!this.#seen.has(channel)) return // dropped while this was on its way
    if (type === 'gap') this.#seen.set(channel, null) // what is missing was said; whatever comes next is right
    if (type === 'gap' || type === 'snapshot') return this.#options.onEvent(event)
    const last = this.#seen.get(channel)
    const ahead = last ? distance(last, id) : 1
    if (ahead <= 0) return
    if (ahead > 1) this.#options.onEvent({ ...event, type: 'gap', data: holeOf(ahead) })
    this.#seen.set(channel, id)
    this.#options.onEvent(event)
  }
}

/** Sequence numbers have no holes, so a client can tell by itself what its log no longer held when it came back. */
function holeOf(ahead) {
  return ahead === Infinity ? { reason: 'reset', missed: null } : { reason: 'trimmed', missed: ahead - 1 }
}

/** How far position `to` is ahead of `from`: 1 for the very next event, 0 or less if not later, else epochs apart. */
export function distance(from, to) {
  const [fromEpoch, fromSeq] = from.split('-').map(Number)
  const [toEpoch, toSeq] = to.split('-').map(Number)
  return fromEpoch === toEpoch ? toSeq - fromSeq : (toEpoch - fromEpoch) * Infinity
}

// Follows a changing set of channels over ONE connection, each event once and in order. Knows nothing of tasks.

import { LiveSource } from './live-source.js'
import { distance } from './position.js'

const MAX_CHANNELS = 50 // the server's limit for one connection; more wait until a followed one is dropped

/**
 * A cursor belongs to one set of channels, so a new set is read from where its logs begin, or from `last` events
 * before their end, and what was seen before is left out by its position. Within one set the source resumes.
 */
export class EventStream {
  #seen = new Map() // channel → position of its last event, null before the first
  #source = null
  #status = { state: 'connecting', retryAt: 0, why: '' }
  #listeners = []
  #options

  /**
   * @param {{ onEvent(event: { channel, id, type, time, data }): void, last?: number,
   *   probe?(): Promise<void> }} options `probe` runs after the browser gave up: the moment to drop channels that
   *   are no more, and to throw the reason.
   */
  constructor(options) {
    this.#options = options
  }

  get channels() {
    return [...this.#seen.keys()]
  }

  /** Calls `listener` with the status of the connection, now and whenever it changes. */
  onStatus(listener) {
    this.#listeners.push(listener)
    listener(this.#status)
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
    const before = this.#source
    this.#source = this.#seen.size > 0 ? this.#connect() : null
    before?.end()
    if (!this.#source) return this.#say({ state: 'ended', retryAt: 0, why: 'nothing to follow' })
    const source = this.#source
    source.onStatus(status => {
      const isChange = before?.status.state === 'live' && status.state === 'connecting'
      if (source === this.#source && !isChange) this.#say(status)
    })
  }

  #connect() {
    const { last, probe } = this.#options
    const query = new URLSearchParams({ named: 'false', ...(last && { last }) })
    for (const channel of this.channels.slice(0, MAX_CHANNELS)) query.append('channel', channel)
    const source = new LiveSource(`/v1/events?${query}`, { probe })
    source.addEventListener('message', ({ data }) => this.#receive(JSON.parse(data)))
    return source
  }

  #say(status) {
    this.#status = status
    for (const listener of this.#listeners) listener(status)
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

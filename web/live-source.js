// An EventSource that tells how it stands, and goes on where the browser's own gives up for good.

import { call } from './api.js'

const RETRY_MS = 2_000 // what the broker tells browsers to wait before they try again
const FIRST_PAUSE_MS = 1_000
const LAST_PAUSE_MS = 30_000
const QUIET_MS = 300 // after the opening of a stream, the end of what was missed
const MAX_CATCH_UP_MS = 5_000

/**
 * Listen to it as to an EventSource: `addEventListener(type, ({ data, lastEventId }) => …)`. It resumes after the
 * last event that was heard; what can't be had any more is told by an event `gap`.
 */
export class LiveSource extends EventTarget {
  /** `state`: connecting, catching up, live, reconnecting, offline or ended. `retryAt`: ms since 1970, or 0. */
  status = { state: 'connecting', retryAt: 0, why: '' }
  #url
  #probe
  #source = null
  #cursor = ''
  #types = new Set(['message', 'gap'])
  #listeners = []
  #failures = 0
  #retry = 0
  #quiet = 0
  #openedAt = 0
  #window = new AbortController()

  /** `probe` runs after the browser gave up, and throws the reason why it did, if it finds one. */
  constructor(url, { probe } = {}) {
    super()
    this.#url = new URL(url, location.href)
    this.#probe = probe ?? (() => call(withParameter(this.#url, 'limit', 1)))
    const { signal } = this.#window
    addEventListener('online', () => this.#source && this.open(), { signal })
    addEventListener('offline', () => this.#source && this.#say('offline'), { signal })
    this.open()
  }

  addEventListener(type, ...rest) {
    super.addEventListener(type, ...rest)
    if (this.#types.has(type)) return
    this.#types.add(type)
    this.#source?.addEventListener(type, this.#forward)
  }

  /** Calls `listener` with the status, now and whenever it changes. */
  onStatus(listener) {
    this.#listeners.push(listener)
    listener(this.status)
  }

  /** Connects, after what was heard before. */
  open() {
    this.#release()
    const url = this.#cursor ? withParameter(this.#url, 'after', this.#cursor) : this.#url
    const source = new EventSource(url)
    for (const type of this.#types) source.addEventListener(type, this.#forward)
    source.onopen = () => this.#opened()
    source.onerror = () => (source.readyState === EventSource.CLOSED ? this.#retryLater() : this.#lost())
    this.#source = source
    this.#say('connecting')
  }

  /** Disconnects until `open()`. */
  close() {
    this.#release()
    this.#source = null
    this.#say('ended')
  }

  /** Disconnects for good. */
  end() {
    this.close()
    this.#window.abort()
  }

  #release() {
    clearTimeout(this.#retry)
    clearTimeout(this.#quiet)
    this.#source?.close()
  }

  #opened() {
    this.#failures = 0
    this.#openedAt = Date.now()
    this.#say('catching up')
    this.#liveOnceQuiet()
  }

  #forward = ({ type, data, lastEventId }) => {
    this.#cursor = lastEventId
    this.dispatchEvent(new MessageEvent(type, { data, lastEventId }))
    if (this.status.state === 'catching up') this.#liveOnceQuiet()
    else if (this.#source && this.status.state !== 'live') this.#say('live') // such as on loopback without a network
  }

  #liveOnceQuiet() {
    clearTimeout(this.#quiet)
    const leftMs = this.#openedAt + MAX_CATCH_UP_MS - Date.now()
    this.#quiet = setTimeout(() => this.#say('live'), Math.min(QUIET_MS, leftMs))
  }

  #lost() {
    clearTimeout(this.#quiet)
    this.#say(navigator.onLine ? 'reconnecting' : 'offline', RETRY_MS)
  }

  /** An EventSource gives up for good on an error status, such as a load balancer's 503. We don't. */
  async #retryLater() {
    const source = this.#source
    const longestMs = Math.min(LAST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.#failures++)
    const pauseMs = longestMs * (0.5 + Math.random() / 2) // so that those who lost it together don't return together
    this.#lost()
    const why = await this.#probe().then(
      () => '',
      problem => problem.message,
    )
    if (this.#source !== source) return
    this.#say(navigator.onLine ? 'reconnecting' : 'offline', pauseMs, why)
    this.#retry = setTimeout(() => this.open(), pauseMs)
  }

  #say(state, retryMs = 0, why = '') {
    this.status = { state, retryAt: retryMs && Date.now() + retryMs, why }
    for (const listener of this.#listeners) listener(this.status)
  }
}

function withParameter(url, name, value) {
  const changed = new URL(url)
  changed.searchParams.set(name, value)
  return changed
}

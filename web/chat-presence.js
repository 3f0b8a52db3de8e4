// Who is here: everybody says so every few seconds, and who is silent is gone. Pure.

export const HERE_EVERY_MS = 10_000
const GONE_AFTER_MS = 25_000
const MAX_PEOPLE = 200

/**
 * Time is what the events say, since the clock of the page may differ from the broker's: as long as somebody looks,
 * somebody says that he is here.
 */
export class ChatPresence {
  #people = new Map() // client → { name, at }
  #latest = 0

  /** `type`: here or left, others are ignored; `time` in ISO 8601. */
  take({ type, time, client, name }) {
    if (type !== 'here' && type !== 'left') return
    const at = Date.parse(time)
    this.#latest = Math.max(this.#latest, at)
    if (type === 'left') this.#people.delete(client)
    if (type === 'here' && (this.#people.has(client) || this.#people.size < MAX_PEOPLE)) {
      this.#people.set(client, { name, at })
    }
    for (const [someone, { at: heard }] of this.#people) {
      if (this.#latest - heard > GONE_AFTER_MS) this.#people.delete(someone)
    }
  }

  /** In the order of the alphabet. */
  get names() {
    return [...this.#people.values()].map(({ name }) => name).sort((a, b) => a.localeCompare(b))
  }
}

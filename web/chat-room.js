// What the page knows of one room: its last messages, who is here, and how much of it was not looked at. No DOM.

import { ChatPresence } from './chat-presence.js'

const MAX_MESSAGES = 200
const MAX_NAME = 40
const MAX_TEXT = 2_000

export class ChatRoom {
  messages = [] // { name, text, time }, or { notice }
  presence = new ChatPresence()
  unread = 0

  constructor(name) {
    this.name = name
    this.channels = [`chat:${name}`, `chat:${name}:here`]
  }

  /** Takes an event of either channel. Returns the message that it adds, or null. */
  take({ channel, type, time, data }) {
    if (channel !== this.channels[0]) {
      this.presence.take({ type, time, client: String(data?.client), name: shortText(data?.name, MAX_NAME) })
      return null
    }
    if (type === 'gap') return this.#keep({ notice: 'Some messages are no longer kept.' })
    if (type !== 'said') return null
    return this.#keep({ name: shortText(data?.name, MAX_NAME), text: shortText(data?.text, MAX_TEXT), time })
  }

  #keep(message) {
    this.messages.push(message)
    if (this.messages.length > MAX_MESSAGES) this.messages.shift()
    return message
  }
}

/** Anybody may publish anything to a channel. */
function shortText(value, max) {
  return typeof value === 'string' ? value.slice(0, max) : ''
}

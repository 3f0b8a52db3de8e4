// The chat: all rooms over one connection. A message is an event `said` on the channel `chat:<room>`; it is shown when
// it comes back from there, in the order of the channel, and so once.

import { call } from './api.js'
import { notifier } from './chat-notifications.js'
import { HERE_EVERY_MS } from './chat-presence.js'
import { ChatRoom } from './chat-room.js'
import { showMessage, showMessages, showPeople, showRooms } from './chat-view.js'
import { showConnection } from './connection.js'
import { EventStream } from './event-stream.js'

const ROOMS = ['lobby', 'kitchen', 'workshop']
const ROOM_NAME = /^[A-Za-z0-9._-]{1,40}$/
const MAX_ROOMS = 12
const HISTORY = 100

const $ = selector => document.querySelector(selector)
const client = crypto.randomUUID()
const rooms = new Map(ROOMS.map(name => [name, new ChatRoom(name)]))
const notify = notifier($('#notify'))
const stream = new EventStream({ onEvent, last: HISTORY })
let active = rooms.get(ROOMS[0])
let isHistory = true // until the stream is live for the first time
let draft = { key: '' } // what is being sent

function onEvent(event) {
  const room = rooms.get(event.channel.split(':')[1])
  const message = room.take(event)
  if (room === active) showPeople(room)
  if (!message) return
  if (room === active) showMessage(message)
  if (isHistory || (room === active && !document.hidden)) return
  room.unread++
  showRooms([...rooms.values()], active)
  notify(`${message.name} in ${room.name}`, message.text, room.name)
}

/** Shows the room that the address names, and is there. */
function enter() {
  const name = location.hash.slice(1) || ROOMS[0]
  const isRoom = ROOM_NAME.test(name) && (rooms.has(name) || rooms.size < MAX_ROOMS)
  $('#join-error').textContent = isRoom ? '' : 'No such room can be entered.'
  if (isRoom) {
    if (active.name !== name) tellPresence('left')
    if (!rooms.has(name)) rooms.set(name, new ChatRoom(name))
    active = rooms.get(name)
  }
  stream.add([...rooms.values()].flatMap(({ channels }) => channels))
  active.unread = 0
  showRooms([...rooms.values()], active)
  showMessages(active)
  showPeople(active)
  tellPresence('here')
}

/** Nothing hangs on one of these: the next one follows. */
function tellPresence(type) {
  const body = JSON.stringify({ type, data: { client, name: $('#name').value.trim() } })
  const headers = { 'content-type': 'application/json' }
  const url = `/v1/channels/${active.channels[1]}/events`
  fetch(url, { method: 'POST', headers, body, keepalive: true }).catch(() => undefined)
}

async function say(text) {
  const { name, channels } = active
  // Sent again after an error it is the same message still, and appended once.
  if (draft.text !== text || draft.name !== name) draft = { text, name, key: crypto.randomUUID() }
  const data = { name: $('#name').value.trim(), text }
  await call(`/v1/channels/${channels[0]}/events`, { type: 'said', data }, draft.key)
  draft = { key: '' }
}

$('#say').onsubmit = async event => {
  event.preventDefault()
  const text = $('#text').value.trim()
  if (text === '' || $('#say').ariaBusy === 'true') return
  $('#say').ariaBusy = 'true'
  $('#say-error').textContent = ''
  try {
    await say(text)
    $('#text').value = ''
  } catch (problem) {
    $('#say-error').textContent = `Not sent: ${problem.message}`
  }
  $('#say').ariaBusy = 'false'
}

$('#join').onsubmit = event => {
  event.preventDefault()
  location.hash = $('#room').value
  $('#room').value = ''
}

$('#name').value = localStorage.getItem('chat-name') ?? `guest ${Math.floor(100 + Math.random() * 900)}`
$('#name').onchange = () => {
  localStorage.setItem('chat-name', $('#name').value)
  tellPresence('here')
}

addEventListener('hashchange', enter)
addEventListener('pagehide', () => tellPresence('left'))
addEventListener('pageshow', ({ persisted }) => persisted && tellPresence('here'))
document.addEventListener('visibilitychange', () => {
  if (document.hidden) return
  tellPresence('here') // in the background timers come late
  active.unread = 0
  showRooms([...rooms.values()], active)
})
setInterval(() => tellPresence('here'), HERE_EVERY_MS)

showConnection(stream)
$('#messages').tabIndex = 0 // scrolls by keyboard
stream.onStatus(({ state }) => {
  if (state === 'live') isHistory = false
})
enter()

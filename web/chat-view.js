// Shows rooms, messages and people. Text goes in as text, never as markup.

const MAX_SHOWN = 200
const NEAR_END_PX = 40

const $ = selector => document.querySelector(selector)

export function showRooms(rooms, active) {
  const items = rooms.map(room => {
    const link = make('a', { href: `#${room.name}` }, room.name)
    if (room === active) link.ariaCurrent = 'page'
    if (room.unread > 0) link.append(make('span', { className: 'badge' }, ` ${room.unread} new`))
    return make('li', {}, link)
  })
  $('#rooms').replaceChildren(...items)
  const unread = rooms.reduce((sum, room) => sum + room.unread, 0)
  document.title = `${unread > 0 ? `(${unread}) ` : ''}${active.name} · Chat · Millrace`
}

/** Shows a room's messages; a screen reader reads out only those to come. */
export function showMessages(room) {
  const list = $('#messages')
  $('#room-title').textContent = room.name
  list.ariaLive = 'off'
  list.replaceChildren(...room.messages.map(messageItem))
  list.scrollTop = list.scrollHeight
  setTimeout(() => {
    list.ariaLive = 'polite'
  })
}

/** Adds a message at the end; whoever reads further up is left there. */
export function showMessage(message) {
  const list = $('#messages')
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < NEAR_END_PX
  list.append(messageItem(message))
  if (list.childElementCount > MAX_SHOWN) list.firstElementChild.remove()
  if (atEnd) list.scrollTop = list.scrollHeight
}

export function showPeople({ presence }) {
  const names = presence.names.map(nameOf)
  const shown = [...$('#here').children].map(item => item.textContent)
  if (names.join('\n') !== shown.join('\n'))
    $('#here').replaceChildren(...names.map(name => make('li', {}, name)))
}

function messageItem({ notice, name, text, time }) {
  if (notice) return make('li', { className: 'hint' }, notice)
  const clock = new Date(time).toLocaleTimeString([], { timeStyle: 'short' })
  return make(
    'li',
    {},
    make('b', {}, nameOf(name)),
    make('time', { dateTime: time }, clock),
    make('p', {}, text),
  )
}

function nameOf(name) {
  return name || 'somebody'
}

function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties)
  element.append(...children)
  return element
}

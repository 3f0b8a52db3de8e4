// Event ids: cuts its connection at the press of a button, and shows by the ids that nothing is lost or doubled.

import { showConnection } from './connection.js'
import { LiveSource } from './live-source.js'
import { SequenceCheck } from './sequence-check.js'

const MAX_ROWS = 100

const $ = selector => document.querySelector(selector)
const tell = text => {
  $('#story').textContent = text
}
const check = new SequenceCheck()
const source = new LiveSource('/v1/channels/demo:counter/events?last=5')
let broken = false // off, since it was live last
let replayed = 0 // since then

showConnection(source)
$('.events').tabIndex = 0 // scrolls by keyboard
source.onStatus(({ state }) => {
  if (check.received === 0 || state === 'connecting' || state === 'catching up') return
  if (state !== 'live') {
    if (!broken) tell('Cut off. The counter goes on without this page.')
    broken = true
  } else if (broken) {
    tell(`Back: ${replayed} events came out of the log, in order. From here on it is live again.`)
    broken = false
    replayed = 0
  }
})

source.addEventListener('message', ({ data, lastEventId }) => {
  const fromLog = source.status.state === 'catching up'
  const isReplay = broken && fromLog
  if (isReplay) replayed++
  if (check.received === 0) tell('Live. Cut the connection, wait, and let it reconnect.')
  check.take(lastEventId, isReplay)
  for (const name of ['received', 'replayed', 'lost', 'doubled']) $(`#${name}`).textContent = check[name]
  addRow(lastEventId, isReplay ? 'replayed' : fromLog ? 'from the log' : 'live', data)
})

$('#cut').onclick = () => {
  const cuts = source.status.state !== 'ended'
  if (cuts) source.close()
  else source.open()
  $('#cut').textContent = cuts ? 'Let it reconnect' : 'Cut the connection'
}

function addRow(id, came, data) {
  const row = $('#events').insertRow(0)
  row.dataset.came = came
  for (const text of [id.split('-')[1], id, came, data]) row.insertCell().textContent = text
  if ($('#events').rows.length > MAX_ROWS) $('#events').deleteRow(-1)
}

// The task monitor: starts tasks of any registered type and watches all of them over one event stream.

import { call, Problem } from './api.js'
import { showConnection } from './connection.js'
import { EventStream } from './event-stream.js'
import { schemaForm } from './schema-form.js'
import { TaskCard } from './task-card.js'
import { isOpen, isTerminal } from './task-view.js'

const PAGE_SIZE = 20
const MAX_AT_ONCE = 20
const MAX_ANNOUNCED = 20
const ASK_AGAIN_MS = 3_000

const $ = selector => document.querySelector(selector)
const channelOf = task => `task:${task.id}`
const cards = new Map() // channel → card
let inputForm = schemaForm(null)

const stream = new EventStream({
  onEvent(event) {
    cards.get(event.channel).apply(event)
    if (isTerminal(event.type)) stream.drop(event.channel)
  },
  async probe() {
    for (const channel of stream.channels) {
      const card = cards.get(channel)
      try {
        card.adopt(await call(`/v1/tasks/${card.task.id}`))
      } catch (problem) {
        if (problem.status !== 404) throw problem // no answer for one, so none for the others
        card.adopt({ ...card.task, state: 'gone' })
        stream.drop(channel)
      }
    }
  },
})

/** Makes cards for tasks that have none. Open ones are followed; an ended one's messages are read when opened. */
function show(tasks, place) {
  const fresh = tasks.filter(task => !cards.has(channelOf(task)))
  for (const task of fresh) {
    const card = new TaskCard(task, announce, again => show([again], 'prepend'))
    cards.set(channelOf(task), card)
    if (!isOpen(task)) card.onHistory(() => stream.add([channelOf(task)]))
  }
  $('#tasks')[place](...fresh.map(task => cards.get(channelOf(task)).element))
  $('#tasks-hint').textContent = cards.size > 0 ? '' : 'No tasks yet.'
  stream.add(fresh.filter(isOpen).map(channelOf))
}

function announce(text) {
  const line = document.createElement('p')
  line.textContent = text
  $('#announcer').append(line)
  if ($('#announcer').childElementCount > MAX_ANNOUNCED) $('#announcer').firstElementChild.remove()
}

async function loadTypes() {
  const { types } = await call('/v1/task-types')
  if (types.length === 0) throw new Problem('No worker has announced a task type yet.')
  $('#type').replaceChildren(...types.map(({ type }) => new Option(type)))
  $('#type').onchange = () => {
    inputForm = schemaForm(types.find(({ type }) => type === $('#type').value).inputSchema)
    $('#input').replaceChildren($('#input legend'), ...inputForm.elements)
    showProblem('')
  }
  $('#type').onchange()
  $('#type-hint').textContent = ''
  $('#start button').disabled = false
}

async function loadTasks(cursor) {
  const query = new URLSearchParams({ limit: PAGE_SIZE, ...(cursor && { cursor }) })
  const { tasks, next } = await call(`/v1/tasks?${query}`)
  show(tasks, 'append')
  $('#older').hidden = !next
  $('#older').onclick = () => persist(() => loadTasks(next), $('#tasks-hint'))
}

/** Loads until it succeeds, and says in words why it has not yet. */
function persist(load, hint) {
  load().catch(problem => {
    hint.textContent = `${problem.message} Asking again…`
    setTimeout(persist, ASK_AGAIN_MS, load, hint)
  })
}

async function start() {
  const { input, errors } = inputForm.read()
  if (errors.length > 0) return showProblem('Some fields need another value.', errors)
  showProblem('')
  const type = $('#type').value
  const count = Math.min(MAX_AT_ONCE, Math.max(1, $('#count').valueAsNumber || 1))
  const answers = await Promise.allSettled(
    Array.from({ length: count }, () => call('/v1/tasks', { type, input })),
  )
  const started = answers.filter(({ status }) => status === 'fulfilled').map(({ value }) => value)
  show(started.reverse(), 'prepend') // newest first
  const refusal = answers.find(({ status }) => status === 'rejected')?.reason
  const others = started.length > 0 ? `${started.length} of ${count} started. ` : ''
  if (refusal) showProblem(others + refusal.message, refusal.errors)
}

function showProblem(message, errors = []) {
  const rest = inputForm.showErrors(errors).map(error => `${error.path}: ${error.message}`)
  $('#start-error').textContent = [message, ...rest].join('\n')
}

$('#start').onsubmit = async event => {
  event.preventDefault()
  if ($('#start').ariaBusy === 'true') return
  $('#start').ariaBusy = 'true'
  await start().finally(() => {
    $('#start').ariaBusy = 'false'
  })
}
showConnection(stream)
setInterval(() => {
  for (const card of cards.values()) if (isOpen(card.task)) card.tick()
}, 1_000)
persist(loadTypes, $('#type-hint'))
persist(loadTasks, $('#tasks-hint'))

// The front page: starts a task, and shows over its event stream how it goes.

import { call } from './api.js'
import { showConnection } from './connection.js'
import { LiveSource } from './live-source.js'

const ENDS = ['completed', 'failed', 'cancelled', 'expired']
const $ = selector => document.querySelector(selector)

function watch(task) {
  const source = new LiveSource(task.links.events)
  $('#connection').hidden = false
  showConnection(source)
  source.addEventListener('progress', ({ data }) => show(JSON.parse(data)))
  for (const state of ENDS) {
    source.addEventListener(state, () => {
      source.end()
      $('#start').disabled = false
      $('#message').textContent = `${$('#message').textContent}: ${state}`
    })
  }
}

function show({ percent, message }) {
  $('#progress').value = percent
  $('#message').textContent = `${percent} %, ${message}`
}

$('#start').onclick = async () => {
  $('#start').disabled = true
  show({ percent: 0, message: 'waiting for a worker' })
  try {
    watch(await call('/v1/tasks', { type: 'countdown', input: { steps: 10, intervalMs: 500 } }))
  } catch (problem) {
    $('#message').textContent = `Not started: ${problem.message}`
    $('#start').disabled = false
  }
}

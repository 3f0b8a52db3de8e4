// What the page knows of one task: its state as the server last told it, changed by each event. No DOM, no I/O.

import { distance } from './position.js'

export const MAX_LINES = 100
export const MAX_CHUNKS = 20
const MAX_CHARS = 2_000
const OPEN = ['scheduled', 'queued', 'running']
const TERMINAL = ['completed', 'failed', 'cancelled', 'expired']
const WITHOUT_LINE = ['queued', 'progress', 'output', 'completed']

export function isOpen(task) {
  return OPEN.includes(task.state)
}

/** Can the task be run again, as a new one? */
export function isRetryable(task) {
  return ['failed', 'cancelled', 'expired'].includes(task.state)
}

/** Is this the type of a task's last event? */
export function isTerminal(type) {
  return TERMINAL.includes(type)
}

/** A task from the API, with what its events add to it. */
export function viewOf(task) {
  return { task, lines: [], chunks: [], cancelling: false }
}

/** Takes over a task as the API tells it, unless events have told more already. */
export function adopt(view, task) {
  if (distance(view.task.lastEventId, task.lastEventId) >= 0) view.task = task
}

/**
 * Applies one event. One that the task has in it already (read again after a reload) adds its line or chunk only, so
 * that the state never seems to go back.
 */
export function applyEvent(view, { id, type, time, data }) {
  if (type === 'snapshot') {
    view.task = data
    return
  }
  if (type === 'gap') {
    if (data.reason !== 'trimmed') Object.assign(view, { lines: [], chunks: [] })
  } else if (distance(view.task.lastEventId, id) > 0) {
    view.task = { ...view.task, ...changeOf(view.task, type, time, data), lastEventId: id }
  }
  view.cancelling ||= type === 'cancelling'
  if (type === 'output') keep(view.chunks, bounded(JSON.stringify(data.chunk), MAX_CHARS), MAX_CHUNKS)
  const line = lineOf(type, data)
  if (line) keep(view.lines, { time, text: bounded(line, MAX_CHARS) }, MAX_LINES)
}

function changeOf(task, type, time, data) {
  if (type === 'queued') return { state: data.state }
  if (type === 'started')
    return { state: 'running', attempt: data.attempt, startedAt: task.startedAt ?? time }
  if (type === 'progress') return { progress: { ...task.progress, message: null, ...data } }
  if (type === 'retrying') return { state: 'scheduled' }
  if (isTerminal(type)) return { state: type, result: data.result, error: data.error, finishedAt: time }
  return null
}

function lineOf(type, data) {
  if (WITHOUT_LINE.includes(type)) return null
  if (type === 'log') return data.message
  if (type === 'started') return `attempt ${data.attempt} started by ${data.worker}`
  if (type === 'gap') return data.missed ? `${data.missed} events are no longer kept` : 'the log began anew'
  return `${type} ${data.error?.message ?? data.reason ?? JSON.stringify(data.data) ?? ''}`
}

function keep(list, item, max) {
  if (list.push(item) > max) list.shift()
}

/** At most `max` characters of a text, saying how many were left out. */
export function bounded(text, max) {
  return text.length > max ? `${text.slice(0, max)}… (${text.length - max} more characters)` : text
}

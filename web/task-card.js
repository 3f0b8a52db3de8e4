// Shows one task as a card. Text goes in as text, never as markup.

import { call } from './api.js'
import {
  adopt,
  applyEvent,
  bounded,
  isOpen,
  isRetryable,
  MAX_CHUNKS,
  MAX_LINES,
  viewOf,
} from './task-view.js'

const MAX_RESULT_CHARS = 20_000
const MAX_MESSAGE_CHARS = 500

export class TaskCard {
  #view
  #frame = 0
  #shownLine
  #announce
  #onRetry

  /**
   * @param {(text: string) => void} announce says a change of state to screen readers
   * @param {(task) => void} onRetry takes the new task that runs this one again
   */
  constructor(task, announce, onRetry) {
    this.#view = viewOf(task)
    this.#announce = announce
    this.#onRetry = onRetry
    this.element = document.querySelector('#task-card').content.cloneNode(true).firstElementChild
    this.element.ariaLabel = `${task.type} ${task.id}`
    this.#part('progress').ariaLabel = `Progress of ${task.type}`
    this.#part('.id').href = `/v1/tasks/${task.id}`
    this.#write('.id', task.id)
    this.#write('.type', task.type)
    this.#part('.cancel').onclick = () => this.#cancel()
    this.#part('.retry').onclick = () => this.#retry()
    this.#part('.log').ontoggle = () => this.#drawSoon()
    for (const box of this.element.querySelectorAll('pre, ol')) box.tabIndex = 0 // scrolls by keyboard
    this.#draw()
  }

  get task() {
    return this.#view.task
  }

  adopt(task) {
    adopt(this.#view, task)
    this.#drawSoon()
  }

  apply(event) {
    applyEvent(this.#view, event)
    this.#drawSoon()
  }

  /** Runs `listener` when the messages are opened for the first time. */
  onHistory(listener) {
    this.#part('.log').addEventListener('toggle', listener, { once: true })
  }

  /** Says how long the task has waited or run; to be called each second while it is open. */
  tick() {
    const { startedAt, createdAt, finishedAt, attempt, attempts } = this.task
    const ms = Math.max(0, new Date(finishedAt ?? Date.now()) - new Date(startedAt ?? createdAt))
    const tries = attempts > 1 && attempt > 0 ? `, attempt ${attempt} of ${attempts}` : ''
    this.#write('.timing', `${startedAt ? 'ran' : 'waited'} ${duration(ms)}${tries}`)
  }

  #part(selector) {
    return this.element.querySelector(selector)
  }

  #write(selector, text) {
    const part = this.#part(selector)
    if (part.textContent !== text) part.textContent = text // what a reader has selected stays so
  }

  /** However many events come in, the card is drawn once a frame. */
  #drawSoon() {
    cancelAnimationFrame(this.#frame)
    this.#frame = requestAnimationFrame(() => this.#draw())
  }

  #draw() {
    this.#drawState(this.task)
    this.#drawProgress(this.task)
    this.#drawOutcome(this.task)
    this.#drawHistory(this.#view)
    this.tick()
  }

  #drawState({ type, id, state }) {
    const { dataset } = this.element
    if (dataset.state && dataset.state !== state) this.#announce(`${type} ${id}: ${state}`)
    dataset.state = state
    this.#write('.state', state)
    const button = this.#part('.cancel')
    if (!isOpen(this.task) && document.activeElement === button) this.element.focus()
    button.hidden = !isOpen(this.task)
    button.textContent = this.#view.cancelling ? 'Cancelling…' : 'Cancel'
    this.#part('.retry').hidden = !isRetryable(this.task)
  }

  #drawProgress({ state, progress }) {
    const percent = state === 'completed' ? 100 : progress?.percent
    this.#part('progress').value = percent ?? 0
    if (state === 'running' && percent == null) this.#part('progress').removeAttribute('value') // how far is unknown
    this.#write('.percent', percent == null ? '' : `${Math.round(percent)} %`)
    this.#write('.message', bounded(progress?.message ?? '', MAX_MESSAGE_CHARS))
  }

  #drawOutcome({ state, result, error }) {
    this.#write('.failure', error ? bounded(`${error.message} (${error.code})`, MAX_MESSAGE_CHARS) : '')
    this.#part('.result').hidden = state !== 'completed'
    this.#write('.result pre', bounded(JSON.stringify(result, null, 2) ?? '', MAX_RESULT_CHARS))
  }

  #drawHistory({ lines, chunks }) {
    this.#write('.log summary', `Messages${counted(lines, MAX_LINES)}`)
    if (this.#part('.log').open && this.#shownLine !== lines.at(-1)) {
      this.#part('.log ol').replaceChildren(...lines.map(lineItem).reverse())
      this.#shownLine = lines.at(-1)
    }
    this.#part('.output').hidden = chunks.length === 0
    this.#write('.output summary', `Partial output${counted(chunks, MAX_CHUNKS)}`)
    this.#write('.output pre', chunks.join('\n'))
  }

  async #cancel() {
    this.#write('.refusal', '')
    await call(`/v1/tasks/${this.task.id}/cancel`, {}).catch(problem => {
      this.#write('.refusal', `Not cancelled: ${problem.message}`)
    })
  }

  async #retry() {
    this.#write('.refusal', '')
    this.#part('.retry').disabled = true // a second click would start a second one
    await call(`/v1/tasks/${this.task.id}/retry`, {})
      .then(this.#onRetry)
      .catch(problem => this.#write('.refusal', `Not started again: ${problem.message}`))
    this.#part('.retry').disabled = false
  }
}

function lineItem({ time, text }) {
  const item = document.createElement('li')
  const clock = document.createElement('time')
  clock.textContent = new Date(time).toLocaleTimeString()
  item.append(clock, ` ${text}`)
  return item
}

function counted({ length }, max) {
  return length === max ? ` (last ${max})` : length > 0 ? ` (${length})` : ''
}

function duration(ms) {
  if (ms < 10_000) return `${(ms / 1_000).toFixed(1)} s`
  const seconds = Math.round(ms / 1_000)
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`
}

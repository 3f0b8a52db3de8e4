// The system dashboard: each process tells of itself on one channel; its log gives the last ten minutes.

import { sayNowAndThen } from './announce.js'
import { showConnection } from './connection.js'
import { LineChart } from './line-chart.js'
import { LiveSource } from './live-source.js'
import { QUEUE, SystemSamples } from './system-samples.js'

const MAX_SAMPLES = 3_000 // as many as the channel keeps: ten minutes of nine processes
const COLOURS = 8 // --line-0 … of the style sheet
const DRAW_EVERY_MS = 1_000

const $ = selector => document.querySelector(selector)
const rounded = value => String(value < 10 ? Math.round(value * 10) / 10 : Math.round(value))

const FIELDS = [
  { field: 'cpu', title: 'CPU, of a core', unit: 0.01, sign: ' %' },
  { field: 'memoryBytes', title: 'Memory', unit: 2 ** 20, sign: ' MiB' },
  { field: 'connections', title: 'Connections', unit: 1, sign: '' },
  { field: 'eventsPerSecond', title: 'Events a second', unit: 1, sign: '' },
  { field: 'tasksRunning', title: 'Tasks running', unit: 1, sign: '' },
]
const QUEUE_STATES = ['waiting', 'active', 'delayed', 'held']
const charts = FIELDS.map(({ title, sign }) => new LineChart(title, value => rounded(value) + sign))
const queueChart = new LineChart('Tasks in the queue', rounded)
$('#charts').append(...[...charts, queueChart].map(({ element }) => element))

const samples = new SystemSamples()
const source = new LiveSource(`/v1/channels/demo:system/events?named=false&last=${MAX_SAMPLES}`)
let isNew = false
showConnection(source)
$('.scroll').tabIndex = 0 // scrolls by keyboard
source.addEventListener('message', ({ data }) => {
  samples.take(JSON.parse(data))
  isNew = true
})
setInterval(() => {
  if (!isNew || document.hidden || source.status.state === 'catching up') return
  isNew = false
  draw()
}, DRAW_EVERY_MS)

function draw() {
  const { processes, times, queue } = samples
  const styled = processes.map((process, i) => ({
    ...process,
    colour: `--line-${i % COLOURS}`,
    dashed: process.type === 'worker',
  }))
  $('#waiting').hidden = true
  $('#processes').replaceChildren(...styled.map(processRow))
  for (const [i, { field, unit }] of FIELDS.entries()) {
    const lines = styled.filter(({ last }) => Number.isFinite(last[field]))
    charts[i].draw(
      times,
      lines.map(line => ({ ...line, column: samples.column(line.name, field, unit) })),
    )
  }
  drawQueue(times, queue ?? {})
  sayNowAndThen(`${processes.length} processes, ${queue?.waiting ?? 0} tasks waiting`)
}

function drawQueue(times, queue) {
  const lines = QUEUE_STATES.map((name, i) => ({ name, colour: `--line-${i}`, dashed: i % 2 === 1 }))
  const facts = lines.map(line => fact([swatch(line), line.name], queue[line.name] ?? '–'))
  const { oldestMs } = queue
  facts.push(fact(['the oldest waits'], Number.isFinite(oldestMs) ? `${rounded(oldestMs / 1_000)} s` : '–'))
  $('#queue').replaceChildren(...facts)
  queueChart.draw(
    times,
    lines.map(line => ({ ...line, column: samples.column(QUEUE, line.name) })),
  )
}

function fact(term, value) {
  return make('div', make('dt', ...term), make('dd', String(value)))
}

function processRow(process) {
  const row = document.createElement('tr')
  const name = make('th', swatch(process), `${process.name} `, make('small', process.type))
  name.scope = 'row'
  row.append(name)
  for (const { field, unit, sign } of FIELDS) {
    const value = process.last[field]
    row.append(make('td', Number.isFinite(value) ? rounded(value / unit) + sign : '–'))
  }
  return row
}

/** A piece of the line that the charts draw. */
function swatch({ colour, dashed }) {
  const piece = make('span')
  piece.className = dashed ? 'swatch dashed' : 'swatch'
  piece.style.setProperty('border-color', `var(${colour})`)
  return piece
}

function make(tag, ...children) {
  const element = document.createElement(tag)
  element.append(...children)
  return element
}

// One chart of lines over time, drawn by uPlot in the colours of the page.

import UPlot from './vendor/uplot/uPlot.esm.js'

const HEIGHT_PX = 180
const DASH_PX = [6, 4]
const LEAST_TOP = 4 // of an axis, so that small numbers are not drawn in fractions

const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name)

export class LineChart {
  #place
  #format
  #plot = null
  #drawn = '' // which lines

  /** @param {(value: number) => string} format how a value is written on the axis */
  constructor(title, format) {
    this.#format = format
    this.#place = document.createElement('div')
    this.#place.role = 'img'
    this.#place.ariaLabel = `${title} over the last ten minutes; the last values stand in the tables`
    const heading = Object.assign(document.createElement('h2'), { textContent: title })
    this.element = Object.assign(document.createElement('section'), { className: 'panel' })
    this.element.append(heading, this.#place)
    new ResizeObserver(() => this.#plot?.setSize(this.#size)).observe(this.#place)
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
      this.#drawn = ''
    })
  }

  /** Draws lines: `[{ name, colour, dashed, column }]`, all over the same times (seconds since 1970). */
  draw(times, lines) {
    const wanted = JSON.stringify(lines.map(({ name, colour, dashed }) => [name, colour, dashed]))
    if (wanted !== this.#drawn) this.#make(lines)
    this.#drawn = wanted
    this.#plot.setData([times, ...lines.map(({ column }) => column)])
  }

  get #size() {
    return { width: this.#place.clientWidth, height: HEIGHT_PX }
  }

  #make(lines) {
    this.#plot?.destroy()
    const axis = {
      stroke: colour('--soft'),
      grid: { stroke: colour('--line'), width: 1 },
      ticks: { show: false },
    }
    const options = {
      ...this.#size,
      legend: { show: false },
      cursor: { show: false },
      scales: { y: { range: (_, _lowest, highest) => [0, Math.max(highest * 1.1, LEAST_TOP)] } },
      axes: [
        { ...axis, space: 70, size: 28, values: [[60, '{HH}:{mm}', null, null, null, null, null, null, 1]] },
        { ...axis, size: 64, values: (_, values) => values.map(this.#format) },
      ],
      series: [{}, ...lines.map(line => seriesOf(line))],
    }
    this.#plot = new UPlot(options, undefined, this.#place)
  }
}

function seriesOf({ name, colour: variable, dashed }) {
  return {
    label: name,
    stroke: colour(variable),
    width: 1.5,
    dash: dashed ? DASH_PX : undefined,
    spanGaps: true,
    points: { show: false },
  }
}

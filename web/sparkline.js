// A small line of the last values, as SVG.

const WIDTH = 160
const HEIGHT = 40
const INSET = 2
const SVG = 'http://www.w3.org/2000/svg'

/** An empty one; says nothing to a screen reader, since the numbers stand beside it. */
export function makeSparkline() {
  const svg = document.createElementNS(SVG, 'svg')
  svg.setAttribute('class', 'sparkline')
  svg.setAttribute('viewBox', `0 0 ${WIDTH} ${HEIGHT}`)
  svg.setAttribute('preserveAspectRatio', 'none')
  svg.setAttribute('aria-hidden', 'true')
  svg.append(document.createElementNS(SVG, 'polyline'))
  return svg
}

/** Draws the values over the whole width, from the lowest to the highest. */
export function drawSparkline(svg, values) {
  const lowest = Math.min(...values)
  const span = Math.max(...values) - lowest || 1
  const step = WIDTH / Math.max(1, values.length - 1)
  const height = HEIGHT - 2 * INSET
  const points = values.map((value, i) => {
    const y = INSET + height - ((value - lowest) / span) * height
    return `${(i * step).toFixed(1)},${y.toFixed(1)}`
  })
  svg.firstElementChild.setAttribute('points', points.join(' '))
}

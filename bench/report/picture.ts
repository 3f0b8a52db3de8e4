// The outcome as a picture: how many times better than its reference the product is, and where the target is.

import { type CustomSeriesOption, init } from 'echarts'
import type { MeasureOutcome, Outcome } from './outcome.ts'

const WIDTH = 1_120
const ROW_HEIGHT = 30
const MARGIN = { top: 70, bottom: 50, left: 550, right: 90 }
const COLORS = { met: '#2b8a3e', missed: '#c92a2a', free: '#5c677d', target: '#212529' }

interface Row {
  readonly label: string
  readonly factor: number
  readonly target: number | null
  readonly color: string
}

/** An SVG. Figures of which less is better are turned over, so that right is always better. */
export function picture(outcomes: readonly Outcome[]): string {
  const rows = outcomes.flatMap(outcome => outcome.measures.map(measure => rowOf(outcome, measure)))
  const height = MARGIN.top + MARGIN.bottom + rows.length * ROW_HEIGHT
  const chart = init(null, null, { renderer: 'svg', ssr: true, width: WIDTH, height })
  try {
    chart.setOption({
      animation: false,
      backgroundColor: '#ffffff',
      title: {
        text: 'Millrace, times better than the reference',
        subtext: 'bar from 1 = as good; black mark: the target; green: reached, red: missed, grey: no target',
        left: 'center',
      },
      grid: MARGIN,
      xAxis: { type: 'log', ...boundsOf(rows), axisLabel: { formatter: (value: number) => `${value} ×` } },
      yAxis: { type: 'category', inverse: true, data: rows.map(row => row.label), axisTick: { show: false } },
      series: [bars(rows)],
    })
    return chart.renderToSVGString()
  } finally {
    chart.dispose()
  }
}

function rowOf(outcome: Outcome, { label, better, ratio, target, met }: MeasureOutcome): Row {
  const turned = (value: number) => (better === 'more' ? value : 1 / value)
  return {
    label: `${outcome.name}: ${label}`,
    factor: turned(ratio),
    target: target && 'ratio' in target ? turned(target.ratio) : null,
    color: met === null ? COLORS.free : met ? COLORS.met : COLORS.missed,
  }
}

/** Powers of ten around everything that is shown. */
function boundsOf(rows: readonly Row[]): { min: number; max: number } {
  const values = rows.flatMap(({ factor, target }) => [factor, target ?? 1]).filter(value => value > 0)
  const min = Math.min(...values.filter(Number.isFinite))
  const max = Math.max(...values.filter(Number.isFinite))
  return { min: 10 ** Math.floor(Math.log10(min)), max: 10 ** Math.ceil(Math.log10(max)) }
}

/** A bar in a chart with a logarithmic axis would begin at the axis; these begin at 1. */
function bars(rows: readonly Row[]): CustomSeriesOption {
  return {
    type: 'custom',
    data: rows.map((row, i) => [row.factor, i]),
    renderItem: (_params, api) => {
      const { factor, target, color } = rows[api.value(1) as number]!
      if (!Number.isFinite(factor) || factor <= 0) return null
      const at = (value: number) => api.coord([value, api.value(1)]) as [number, number]
      const [from, y] = at(1)
      const [to] = at(factor)
      const bar = { x: Math.min(from, to), y: y - 8, width: Math.max(1, Math.abs(to - from)), height: 16 }
      // Beside the bar and the mark, whichever reaches farther.
      const textAt = Math.max(from, to, target === null ? 0 : at(target)[0]) + 8
      const text = `${factor.toPrecision(3)} ×`
      return {
        type: 'group',
        children: [
          { type: 'rect', shape: bar, style: { fill: color } },
          { type: 'text', style: { text, x: textAt, y: y - 6, fill: color, fontSize: 12 } },
          ...(target === null ? [] : [targetMark(at(target))]),
        ],
      }
    },
  }
}

function targetMark([x, y]: [number, number]) {
  return {
    type: 'line' as const,
    shape: { x1: x, y1: y - 12, x2: x, y2: y + 12 },
    style: { stroke: COLORS.target, lineWidth: 3 },
  }
}

// The outcome as a Markdown table. Pure.

import type { Target } from '../workload.ts'
import type { Machine } from './machine.ts'
import type { MeasureOutcome, Outcome } from './outcome.ts'

export interface Report {
  readonly startedAt: string
  readonly seconds: number
  readonly rounds: number
  readonly quick: boolean
  readonly machine: Machine
  readonly outcomes: readonly Outcome[]
  /** Workloads that broke off, with the reason. */
  readonly failures: readonly { readonly name: string; readonly reason: string }[]
}

/** `picture` is the file name of the picture beside it. */
export function markdown(report: Report, picture: string): string {
  return [
    '# Benchmark',
    '',
    ...header(report),
    '',
    `![How many times better than the reference](${picture})`,
    '',
    ...table(report.outcomes),
    '',
    ...remarks(report),
  ].join('\n')
}

function header({ startedAt, seconds, rounds, quick, machine }: Report): string[] {
  const { millrace, node, redis, cpu, cores, system, loadAverage } = machine
  return [
    `Millrace ${millrace}, Node ${node}, Redis ${redis}, ${cores} × ${cpu}, ${system}.`,
    `Begun ${startedAt}, ${Math.round(seconds)} s, load average at the start ${loadAverage.toFixed(2)},`,
    `medians of ${rounds} ${rounds === 1 ? 'round' : 'rounds'}${quick ? ', short runs: for a rough idea only' : ''}.`,
  ]
}

function table(outcomes: readonly Outcome[]): string[] {
  const neutral = outcomes.some(({ measures }) => measures.some(({ neutralRatio }) => neutralRatio !== null))
  const columns = ['workload', 'measure', 'compared with', 'reference', 'Millrace', 'ratio', 'target', 'met']
  if (neutral) columns.push('ratio by the neutral client')
  const rows = outcomes.flatMap(outcome =>
    outcome.measures.map((measure, i) => [
      i === 0 ? outcome.title : '',
      `${measure.label} (${measure.unit})`,
      i === 0 ? outcome.reference : '',
      ...figuresOf(measure),
      ...(neutral ? [measure.neutralRatio === null ? '' : number(measure.neutralRatio)] : []),
    ]),
  )
  return [columns, columns.map(() => '---'), ...rows].map(cells => `| ${cells.join(' | ')} |`)
}

function figuresOf({ reference, product, ratio, target, met }: MeasureOutcome): string[] {
  const verdict = met === null ? '' : met ? 'yes' : '**no**'
  return [number(reference), number(product), number(ratio), target ? wordsFor(target) : '', verdict]
}

function wordsFor(target: Target): string {
  if (target.kind === 'at-most-more') return `at most ${target.more} more`
  if (target.kind === 'at-most') return `at most ${number(target.value)}`
  return `${target.kind === 'ratio-at-least' ? '≥' : '≤'} ${target.ratio}`
}

function remarks({ outcomes, failures }: Report): string[] {
  const lines = outcomes.flatMap(({ name, faults, limits }) => [
    ...faults.map(fault => `- **${name}: ${fault}**`),
    ...limits.map(limit => `- ${name}: limited by more than the server (${limit})`),
  ])
  lines.push(...failures.map(({ name, reason }) => `- **${name} broke off: ${reason}**`))
  if (lines.length === 0)
    return [
      'In every run each viewer got each event once and in order, and no load client was the limit.',
      '',
    ]
  return [...lines, '']
}

/** Three significant digits, and whole numbers with groups. */
function number(value: number): string {
  if (!Number.isFinite(value)) return 'none'
  const digits = Math.abs(value) >= 100 ? { maximumFractionDigits: 0 } : { maximumSignificantDigits: 3 }
  return value.toLocaleString('en', digits)
}

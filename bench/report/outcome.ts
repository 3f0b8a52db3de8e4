// From the runs of a workload to what is reported of it. Pure.

import type { Delivery, Measure, Run, Side, Target, Workload } from '../workload.ts'

export interface MeasureOutcome {
  readonly label: string
  readonly unit: string
  readonly better: Measure['better']
  /** Medians over the rounds. */
  readonly reference: number
  readonly product: number
  /** Product / reference. */
  readonly ratio: number
  readonly target: Target | null
  /** null where there is no target. */
  readonly met: boolean | null
  /** The ratio as the neutral client measured it, where it did. */
  readonly neutralRatio: number | null
}

export interface Outcome {
  readonly name: string
  readonly title: string
  readonly reference: string
  readonly measures: readonly MeasureOutcome[]
  /** Faults in the delivery, and what else than the server limited a run; in words. */
  readonly faults: readonly string[]
  readonly limits: readonly string[]
  readonly runs: Runs
  readonly neutral: Partial<Record<Side, Run>>
}

export type Runs = Readonly<Record<Side, readonly Run[]>>

/** The medians, their ratios, and whether the targets are met. A run with a fault in it meets none. */
export function outcomeOf(workload: Workload, runs: Runs, neutral: Partial<Record<Side, Run>> = {}): Outcome {
  const all: [string, Run | undefined][] = [
    ...runs.product.map((run): [string, Run] => ['product', run]),
    ...runs.reference.map((run): [string, Run] => ['reference', run]),
    ['product, neutral client', neutral.product],
    ['reference, neutral client', neutral.reference],
  ]
  const faults = all.flatMap(([who, run]) => faultsOf(run?.delivery).map(fault => `${who}: ${fault}`))
  const limits = all.flatMap(([who, run]) => (run?.limits ?? []).map(limit => `${who}: ${limit}`))
  const measures = workload.measures.map(measure =>
    measureOutcome(measure, runs, neutral, faults.length === 0),
  )
  const { name, title, reference } = workload
  return {
    name,
    title,
    reference,
    measures,
    faults: counted(faults),
    limits: counted(limits),
    runs,
    neutral,
  }
}

/** What went wrong in a delivery, in words; nothing when every viewer got each event once and in order. */
function faultsOf(delivery: Delivery | undefined): string[] {
  if (!delivery) return []
  const { missing, doubled, reordered, gaps, closed } = delivery
  const counts = {
    missing,
    doubled,
    'out of order': reordered,
    'gap events': gaps,
    'viewers cut off': closed,
  }
  return Object.entries(counts)
    .filter(([, count]) => count > 0)
    .map(([what, count]) => `${count} ${what}`)
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  if (sorted.length % 2 === 1) return sorted[middle]!
  return ((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2
}

function measureOutcome(
  { figure, label, unit, better, target }: Measure,
  runs: Runs,
  neutral: Partial<Record<Side, Run>>,
  faultless: boolean,
): MeasureOutcome {
  const middle = (side: Side) => median(runs[side].map(run => run.figures[figure] ?? Number.NaN))
  const reference = middle('reference')
  const product = middle('product')
  const neutralRatio =
    (neutral.product?.figures[figure] ?? Number.NaN) / (neutral.reference?.figures[figure] ?? Number.NaN)
  return {
    label,
    unit,
    better,
    reference,
    product,
    ratio: product / reference,
    target: target ?? null,
    met: target ? faultless && isMet(target, reference, product) : null,
    neutralRatio: Number.isNaN(neutralRatio) ? null : neutralRatio,
  }
}

function isMet(target: Target, reference: number, product: number): boolean {
  if (target.kind === 'at-most-more') return product - reference <= target.more
  if (target.kind === 'at-most') return product <= target.value
  const ratio = product / reference
  return target.kind === 'ratio-at-least' ? ratio >= target.ratio : ratio <= target.ratio
}

/** Each line once, with how often it was there. */
function counted(lines: readonly string[]): string[] {
  const counts = new Map<string, number>()
  for (const line of lines) counts.set(line, (counts.get(line) ?? 0) + 1)
  return [...counts].map(([line, count]) => (count > 1 ? `${line} (${count} runs)` : line))
}

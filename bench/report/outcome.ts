// From the runs of a workload to what is reported of it. Pure.

import type { Delivery, Measure, Run, Side, Target, Workload } from '../workload.ts'

export interface MeasureOutcome {
  readonly label: string
  readonly unit: string
  readonly better: Measure['better']
  /** Medians over the turns; `product` is what is compared, in a row of the ceiling that one. */
  readonly reference: number
  readonly product: number
  /** Median of product / reference in each turn: the machine was as fast for both then. */
  readonly ratio: number
  /** How it scatters. */
  readonly quartiles: Readonly<Record<'reference' | 'product' | 'ratio', readonly [number, number]>>
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

/** Of each side as many. */
export type Runs = Readonly<Record<'reference' | 'product', readonly Run[]>> & {
  readonly ceiling?: readonly Run[]
}

/** The medians, the ratios, and whether the targets are met. With a fault in one of the runs none is. */
export function outcomeOf(workload: Workload, runs: Runs, neutral: Partial<Record<Side, Run>> = {}): Outcome {
  const all: [string, Run | undefined][] = [
    ...runs.product.map((run): [string, Run] => ['product', run]),
    ...runs.reference.map((run): [string, Run] => ['reference', run]),
    ...(runs.ceiling ?? []).map((run): [string, Run] => ['ceiling', run]),
    ['product, neutral client', neutral.product],
    ['reference, neutral client', neutral.reference],
  ]
  const faults = all.flatMap(([who, run]) => faultsOf(run?.delivery).map(fault => `${who}: ${fault}`))
  const limits = all.flatMap(([who, run]) => (run?.limits ?? []).map(limit => `${who}: ${limit}`))
  const measures = workload.measures.flatMap(measure => [
    measureOutcome(measure, runs, neutral, faults.length === 0),
    ...ceilingOf(workload, measure, runs),
  ])
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

/** Where there is something to be reached: what could be. */
function ceilingOf({ ceiling }: Workload, { target, ...measure }: Measure, runs: Runs): MeasureOutcome[] {
  if (!ceiling || !target) return []
  const label = `${measure.label}, by ${ceiling}`
  return [measureOutcome({ ...measure, label }, { ...runs, product: runs.ceiling ?? [] }, {}, true)]
}

function measureOutcome(
  { figure, label, unit, better, target }: Measure,
  runs: Runs,
  neutral: Partial<Record<Side, Run>>,
  faultless: boolean,
): MeasureOutcome {
  const figureOf = (run: Run | undefined) => run?.figures[figure] ?? Number.NaN
  const references = runs.reference.map(figureOf)
  const products = runs.product.map(figureOf)
  const ratios = products.map((product, i) => product / (references[i] ?? Number.NaN))
  const [reference, product, ratio] = [median(references), median(products), median(ratios)]
  const neutralRatio = figureOf(neutral.product) / figureOf(neutral.reference)
  return {
    label,
    unit,
    better,
    reference,
    product,
    ratio,
    quartiles: {
      reference: quartilesOf(references),
      product: quartilesOf(products),
      ratio: quartilesOf(ratios),
    },
    target: target ?? null,
    met: target ? faultless && isMet(target, { reference, product, ratio }) : null,
    neutralRatio: Number.isNaN(neutralRatio) ? null : neutralRatio,
  }
}

function median(values: readonly number[]): number {
  return quantile(values, 0.5)
}

function quartilesOf(values: readonly number[]): [number, number] {
  return [quantile(values, 0.25), quantile(values, 0.75)]
}

/** Between two values their distance is divided (type 7 of Hyndman and Fan, 1996). */
function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  const at = share * (sorted.length - 1)
  const [below, above] = [sorted[Math.floor(at)] ?? Number.NaN, sorted[Math.ceil(at)] ?? Number.NaN]
  return below + (above - below) * (at % 1)
}

function isMet(
  target: Target,
  { reference, product, ratio }: Pick<MeasureOutcome, 'reference' | 'product' | 'ratio'>,
): boolean {
  if (target.kind === 'at-most-more') return product - reference <= target.more
  if (target.kind === 'at-most') return product <= target.value
  return target.kind === 'ratio-at-least' ? ratio >= target.ratio : ratio <= target.ratio
}

/** Each line once, with how often it was there. */
function counted(lines: readonly string[]): string[] {
  const counts = new Map<string, number>()
  for (const line of lines) counts.set(line, (counts.get(line) ?? 0) + 1)
  return [...counts].map(([line, count]) => (count > 1 ? `${line} (${count} turns)` : line))
}

// Runs one workload: its sides in turns, so that what disturbs the machine disturbs all of them.

import { readFile, writeFile } from 'node:fs/promises'
import { projectRoot } from '../dev/project-root.ts'
import { type Outcome, outcomeOf } from './report/outcome.ts'
import { selfTimes } from './report/self-times.ts'
import type { Run, RunContext, Scale, Side, Turns, Workload } from './workload.ts'

export interface RunOptions {
  readonly scale: Scale
  readonly rounds: number
  /** Folder of the neutral client; null = it isn't there. */
  readonly neutralClient: string | null
  /** Of the profile of one more run of the product, without an ending; null = none is taken. */
  readonly profile: string | null
  /** Told in words what begins. */
  readonly onStep: (line: string) => void
}

/** Rejects when a run breaks off. */
export async function runWorkload(workload: Workload, options: RunOptions): Promise<Outcome> {
  const runs = await takeTurns(workload, options)
  const neutral = await neutralRuns(workload, options)
  if (options.profile) await takeProfile(workload, options, options.profile)
  return outcomeOf(workload, runs, neutral)
}

async function takeTurns(
  { name, ceiling, turnsPerRound = 1, staysUp = false, measure }: Workload,
  { scale, rounds, onStep }: RunOptions,
): Promise<Record<Side, Run[]>> {
  const sides: Side[] = ceiling ? ['reference', 'product', 'ceiling'] : ['reference', 'product']
  const runs: Record<Side, Run[]> = { reference: [], product: [], ceiling: [] }
  const context = { scale, part: 1 / turnsPerRound, profile: null }
  const setUps = staysUp ? 1 : rounds
  const turns = (rounds / setUps) * turnsPerRound
  for (let setUp = 0; setUp < setUps; setUp++) {
    onStep(staysUp ? `${name}: ${rounds} rounds` : `${name}: round ${setUp + 1} of ${rounds}`)
    const order = inTurn(sides, setUp)
    if (turns === 1) for (const side of order) runs[side].push(await onlyOf(measure(side, context)))
    else
      await alternate(
        order.map(side => ({ runs: runs[side], of: measure(side, context) })),
        turns,
      )
  }
  return runs
}

/** All sides are up meanwhile. */
async function alternate(sides: readonly { runs: Run[]; of: Turns }[], turns: number): Promise<void> {
  try {
    // The first turn comes with setting up, and isn't counted.
    for (const { of } of sides) await nextOf(of)
    for (let turn = 0; turn < turns; turn++) {
      for (const { runs, of } of inTurn(sides, turn)) runs.push(await nextOf(of))
    }
  } finally {
    await Promise.all(sides.map(({ of }) => of.return()))
  }
}

/** Every other time from the end, so that no side always comes first. */
function inTurn<T>(sides: readonly T[], time: number): readonly T[] {
  return time % 2 === 0 ? sides : sides.toReversed()
}

async function nextOf(turns: Turns): Promise<Run> {
  const { value } = await turns.next()
  if (!value) throw new Error('a side has no more turns')
  return value
}

async function onlyOf(turns: Turns): Promise<Run> {
  try {
    return await nextOf(turns)
  } finally {
    await turns.return()
  }
}

async function neutralRuns(
  workload: Workload,
  { scale, neutralClient, onStep }: RunOptions,
): Promise<Partial<Record<Side, Run>>> {
  const runs: Partial<Record<Side, Run>> = {}
  if (!neutralClient || !workload.neutral) return runs
  for (const side of ['reference', 'product'] as const) {
    onStep(`${workload.name}: ${side}, neutral client`)
    runs[side] = await onlyOf(workload.neutral(side, wholeRound(scale), neutralClient))
  }
  return runs
}

/** By itself and in one turn, since profiling costs something. */
async function takeProfile(workload: Workload, { scale, onStep }: RunOptions, path: string): Promise<void> {
  onStep(`${workload.name}: product, profile`)
  await onlyOf(workload.measure('product', wholeRound(scale, `${path}.cpuprofile`)))
  const profile = JSON.parse(await readFile(`${path}.cpuprofile`, 'utf8'))
  await writeFile(`${path}.txt`, `${workload.title}: ${selfTimes(profile, projectRoot())}`)
}

function wholeRound(scale: Scale, profile: string | null = null): RunContext {
  return { scale, part: 1, profile }
}

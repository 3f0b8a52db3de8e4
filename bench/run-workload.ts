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

/** Every other turn in the opposite order, so that no side always comes first. */
async function takeTurns(
  workload: Workload,
  { scale, rounds, onStep }: RunOptions,
): Promise<Record<Side, Run[]>> {
  const { name, turnsPerRound = 1 } = workload
  const context = { scale, part: 1 / turnsPerRound, profile: null }
  const sides: Side[] = workload.ceiling ? ['reference', 'product', 'ceiling'] : ['reference', 'product']
  const open = turnsPerRound > 1 ? upAllTheWhile : anewEachTurn
  const turns = sides.map(side => ({ side, of: open(() => workload.measure(side, context)) }))
  const runs: Record<Side, Run[]> = { reference: [], product: [], ceiling: [] }
  try {
    if (turnsPerRound > 1) {
      onStep(`${name}: ${sides.join(', ')} are set up`)
      // The turn that this takes is not counted.
      for (const { of } of turns) await nextOf(of)
    }
    for (let turn = 0; turn < rounds * turnsPerRound; turn++) {
      if (turn % turnsPerRound === 0) onStep(`${name}: round ${turn / turnsPerRound + 1} of ${rounds}`)
      for (const { side, of } of turn % 2 === 0 ? turns : turns.toReversed()) {
        runs[side].push(await nextOf(of))
      }
    }
    return runs
  } finally {
    await Promise.all(turns.map(({ of }) => of.return()))
  }
}

function upAllTheWhile(open: () => Turns): Turns {
  return open()
}

async function* anewEachTurn(open: () => Turns): Turns {
  for (;;) yield await onlyOf(open())
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

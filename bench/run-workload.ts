// Runs one workload: reference and product in turns, so that what disturbs the machine disturbs both.

import { readFile, writeFile } from 'node:fs/promises'
import { projectRoot } from '../dev/project-root.ts'
import { type Outcome, outcomeOf } from './report/outcome.ts'
import { selfTimes } from './report/self-times.ts'
import type { Run, Scale, Side, Workload } from './workload.ts'

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

const SIDES: readonly Side[] = ['reference', 'product']

/** Rejects when a run breaks off. */
export async function runWorkload(workload: Workload, options: RunOptions): Promise<Outcome> {
  const { scale, rounds, onStep } = options
  const runs: Record<Side, Run[]> = { reference: [], product: [] }
  for (let round = 1; round <= rounds; round++) {
    for (const side of SIDES) {
      onStep(`${workload.name}: ${side}, round ${round} of ${rounds}`)
      runs[side].push(await workload.run(side, { scale, profile: null }))
    }
  }
  const neutral = await neutralRuns(workload, options)
  if (options.profile) await takeProfile(workload, options, options.profile)
  return outcomeOf(workload, runs, neutral)
}

async function neutralRuns(
  workload: Workload,
  { scale, neutralClient, onStep }: RunOptions,
): Promise<Partial<Record<Side, Run>>> {
  const runs: Partial<Record<Side, Run>> = {}
  if (!neutralClient || !workload.neutralRun) return runs
  for (const side of SIDES) {
    onStep(`${workload.name}: ${side}, neutral client`)
    runs[side] = await workload.neutralRun(side, { scale, profile: null }, neutralClient)
  }
  return runs
}

/** In a run of its own, since profiling costs something. */
async function takeProfile(workload: Workload, { scale, onStep }: RunOptions, path: string): Promise<void> {
  onStep(`${workload.name}: product, profile`)
  await workload.run('product', { scale, profile: `${path}.cpuprofile` })
  const profile = JSON.parse(await readFile(`${path}.cpuprofile`, 'utf8'))
  await writeFile(`${path}.txt`, `${workload.title}: ${selfTimes(profile, projectRoot())}`)
}

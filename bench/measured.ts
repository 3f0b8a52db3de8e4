// The part of a turn that counts.

import type { Cpu, Stage } from './stage.ts'
import type { RunContext } from './workload.ts'

export interface Measured<T> {
  readonly result: T
  /** CPU time that went by meanwhile. */
  readonly cpu: Cpu
}

/** Does what is to be measured, profiled where that is asked for. */
export async function measured<T>(
  stage: Stage,
  { profile }: RunContext,
  work: () => Promise<T>,
): Promise<Measured<T>> {
  if (profile) await stage.server?.startProfile()
  const before = stage.cpu()
  const result = await work()
  const after = stage.cpu()
  if (profile) await stage.server?.endProfile(profile)
  const cpu = {
    serverUs: after.serverUs - before.serverUs,
    redisUs: after.redisUs - before.redisUs,
    loadUs: after.loadUs - before.loadUs,
  }
  return { result, cpu }
}

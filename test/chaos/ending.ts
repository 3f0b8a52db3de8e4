// The end of a run, when the faults are over: everything has to come to rest, and what can only be seen at rest
// is looked at.

import { setTimeout as delay } from 'node:timers/promises'
import type { Fleet } from './fleet.ts'
import { settle } from './settle.ts'
import type { Traffic } from './traffic.ts'

export interface Ending {
  /** What did not come to rest in time, in words. */
  readonly underWay: string[]
  /** How long clients took each time to be whole again, in ms. */
  readonly wholeAfterMs: readonly number[]
}

/** A killed worker's tasks are run again after up to 15 s, and what lacks a job is found as late. */
const SETTLE_MS = 60_000
const FOLLOW_MS = 15_000
/** A gateway compares quiet channels with their logs now and then; once could be luck. */
const ROUNDS = 3

/** `wholeWithinMs`: within this time clients have to have what was published while pub/sub was away. */
export async function bringToRest(fleet: Fleet, traffic: Traffic, wholeWithinMs: number): Promise<Ending> {
  await traffic.windDown()
  const { clients, channels, followers } = traffic
  const taskIds = followers.flatMap(({ submissions }) => [...submissions.keys()])
  const underWay = await settle(fleet.control, { clients, channels, taskIds }, SETTLE_MS)
  if (!(await within(FOLLOW_MS, traffic.followed()))) {
    underWay.push('tasks that have ended are still being followed')
  }
  const wholeAfterMs: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    await fleet.cutPubSub()
    // No further event on these channels shows the hole: gateways have to look for it.
    await traffic.publishToAll('unheard')
    const from = performance.now()
    underWay.push(...(await settle(fleet.control, { clients, channels, taskIds: [] }, wholeWithinMs)))
    wholeAfterMs.push(performance.now() - from)
  }
  // What is still on its way to a client has to come before the last event.
  await traffic.publishToAll('last')
  underWay.push(...(await settle(fleet.control, { clients, channels, taskIds: [] }, SETTLE_MS)))
  return { underWay, wholeAfterMs }
}

async function within(ms: number, promise: Promise<void>): Promise<boolean> {
  return Promise.race([promise.then(() => true), delay(ms, false, { ref: false })])
}

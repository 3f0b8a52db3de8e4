// Waits until nothing is under way any more: every client stands where the log ends, and every task has ended.

import { setTimeout as delay } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { comparePositions, formatPosition, type Position } from '../../shared/event-id.ts'
import { isTerminal } from '../../shared/task.ts'
import { readHeads, readTaskStates } from './final-log.ts'
import type { StreamClient } from './stream-client.ts'

const LOOK_MS = 100

export interface Unsettled {
  readonly clients: readonly StreamClient[]
  readonly channels: readonly string[]
  readonly taskIds: readonly string[]
}

/** Resolves with what is still under way when the time is over, in words; empty as soon as all has settled. */
export async function settle(redis: Redis, parts: Unsettled, timeoutMs: number): Promise<string[]> {
  for (const end = performance.now() + timeoutMs; ; await delay(LOOK_MS)) {
    const underWay = [...(await behind(redis, parts)), ...(await unended(redis, parts.taskIds))]
    if (underWay.length === 0) return []
    if (performance.now() > end) return underWay.map(what => `after ${timeoutMs / 1000} s ${what}`)
  }
}

async function behind(redis: Redis, { clients, channels }: Unsettled): Promise<string[]> {
  const heads = await readHeads(redis, channels)
  const headOf = new Map(channels.map((channel, i) => [channel, heads[i]!]))
  return clients.flatMap(client =>
    client.wanted.cursor.channels.flatMap((channel, i) => {
      const [position, head] = [client.positions?.[i], headOf.get(channel)!]
      if (position && comparePositions(position, head) === 0) return []
      return [`${client.name} stands at ${show(position)} of ${channel}, whose log ends at ${show(head)}`]
    }),
  )
}

async function unended(redis: Redis, taskIds: readonly string[]): Promise<string[]> {
  const states = await readTaskStates(redis, taskIds)
  return taskIds.flatMap((id, i) => {
    const state = states[i] ?? null
    return state === null || isTerminal(state) ? [] : [`the task ${id} is ${state}`]
  })
}

function show(position: Position | undefined): string {
  return position ? formatPosition(position) : 'no known place'
}

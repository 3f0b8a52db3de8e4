// What a run did, for people.

import type { Counters } from './counters.ts'
import type { FaultKind } from './plan.ts'
import type { Traffic } from './traffic.ts'
import { countBy, type Verdict } from './verdict.ts'

export interface Outcome {
  readonly seed: number
  readonly lengthMs: number
  readonly clients: number
  readonly faults: readonly FaultKind[]
  readonly traffic: Traffic
  readonly counters: Counters
  readonly verdict: Verdict
  /** How long it took at the end until all clients were whole again, in ms. */
  readonly wholeAfterMs: readonly number[]
}

export function summarize({
  seed,
  lengthMs,
  clients,
  faults,
  traffic,
  counters,
  verdict,
  wholeAfterMs,
}: Outcome): string {
  const streams = [...traffic.clients, ...traffic.followers.flatMap(follower => follower.clients)]
  const publishes = traffic.publishers.flatMap(publisher => publisher.publishes)
  const submissions = traffic.followers.flatMap(follower => [...follower.submissions.values()])
  const connects = streams.reduce((sum, client) => sum + client.connects, 0)
  const lines = {
    run: `seed ${seed}, ${(lengthMs / 60_000).toFixed(1)} min, ${clients} clients`,
    faults: `${faults.length}: ${list(countBy(faults))}`,
    publishes: `${publishes.length}: ${list(countBy(publishes.map(({ outcome }) => outcome)))}; of those without a 201, ${verdict.unansweredInLog} are in the log`,
    tasks: `${submissions.length}: ${list(countBy(submissions))}; ended: ${list(verdict.taskEnds)}`,
    streams: `${streams.length}, over ${connects} connections`,
    events: `${verdict.logEvents} in ${verdict.logs} logs, ${verdict.recordedEvents} delivered`,
    'sent by': counters.describe('events_sent'),
    'catch-ups': counters.describe('catchups'),
    'closed by': counters.describe('sse_connections_closed'),
    'whole again': `${wholeAfterMs.map(ms => `${(ms / 1000).toFixed(1)} s`).join(', ')} after pub/sub was cut and every channel published to`,
    gaps: counters.describe('gaps'),
    compared: `${verdict.records} records of ${streams.length} streams with the logs, event by event; every publish and every task with its log`,
  }
  return Object.entries(lines)
    .map(([name, text]) => `${name.padEnd(11)} ${text}`)
    .join('\n')
}

function list(counts: ReadonlyMap<string, number>): string {
  return [...counts].map(([what, count]) => `${what} ${count}`).join(', ') || 'none'
}

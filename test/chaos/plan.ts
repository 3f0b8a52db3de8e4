// What goes wrong when: drawn from the seed before the run begins. Pure.

import type { Random } from './random.ts'

/** What a fault hits. One target has one fault at a time; faults of different targets overlap. */
type Target = 'redis' | 'gateway' | 'route' | 'worker'

interface FaultShape {
  readonly target: Target
  /** How long it lasts, in ms, at least and at most: out of service, frozen, cut off. */
  readonly lasts: readonly [number, number]
}

const AT_ONCE = [0, 0] as const

export const FAULTS = {
  'kill gateway': { target: 'gateway', lasts: [0, 1_500] },
  'stop gateway': { target: 'gateway', lasts: [0, 1_500] },
  'freeze gateway': { target: 'gateway', lasts: [200, 4_000] },
  'blackhole gateway from Redis': { target: 'route', lasts: [0, 3_000] },
  'cut pub/sub connections': { target: 'redis', lasts: AT_ONCE },
  'cut command connections': { target: 'redis', lasts: AT_ONCE },
  // Past the 2 s after which gateways give a command up.
  'freeze Redis': { target: 'redis', lasts: [200, 4_000] },
  'kill Redis': { target: 'redis', lasts: [0, 2_000] },
  'kill worker': { target: 'worker', lasts: [0, 2_000] },
  'stop worker': { target: 'worker', lasts: [0, 2_000] },
  // Past the 8 s after which another worker takes its tasks, so that it comes back as an old run.
  'freeze worker': { target: 'worker', lasts: [500, 14_000] },
} as const satisfies Record<string, FaultShape>

export type FaultKind = keyof typeof FAULTS

export interface Fault {
  /** From the start of the run. */
  readonly atMs: number
  readonly kind: FaultKind
  /** Which of the gateways, routes or workers, from 0; 0 for Redis. */
  readonly index: number
  readonly durationMs: number
}

export interface PlanOptions {
  readonly lengthMs: number
  /** Between the beginnings of two faults. */
  readonly pauseMs: readonly [number, number]
  readonly gateways: number
  readonly workers: number
}

/**
 * Kinds come from a shuffled deck, so that each has had its turn before one comes again. None lasts longer than
 * a quarter of the run.
 */
export function planFaults(random: Random, { lengthMs, pauseMs, gateways, workers }: PlanOptions): Fault[] {
  const count: Record<Target, number> = { redis: 1, gateway: gateways, route: gateways, worker: workers }
  const faults: Fault[] = []
  let deck: FaultKind[] = []
  for (let atMs = random.int(...pauseMs); atMs < lengthMs; atMs += random.int(...pauseMs)) {
    if (deck.length === 0) deck = random.shuffle(Object.keys(FAULTS) as FaultKind[])
    const kind = deck.pop()!
    const { target, lasts }: FaultShape = FAULTS[kind]
    const durationMs = Math.min(random.int(...lasts), lengthMs / 4)
    faults.push({ atMs, kind, index: random.int(0, count[target] - 1), durationMs })
  }
  return faults
}

/** For people: `kill gateway 2 for 0.4 s`. */
export function describeFault({ kind, index, durationMs }: Fault): string {
  const which = FAULTS[kind].target === 'redis' ? '' : ` ${index + 1}`
  const lasting = durationMs > 0 ? ` for ${(durationMs / 1000).toFixed(1)} s` : ''
  return kind.replace(/gateway|worker/, name => name + which) + lasting
}

// What a workload is: how a run of it goes, which figures come out, and what is to be reached.

import type { ServerKind } from './server.ts'

/** Each workload runs on the first two in turns, and on the third where it has one. */
export type Side = 'reference' | 'product' | 'ceiling'

/** What is to be reached: of the product's figure compared with the reference's, or by itself. */
export type Target =
  | { readonly kind: 'ratio-at-least' | 'ratio-at-most'; readonly ratio: number }
  /** In the figure's own unit. */
  | { readonly kind: 'at-most'; readonly value: number }
  | { readonly kind: 'at-most-more'; readonly more: number }

export interface Measure {
  /** Name of the figure in a run. */
  readonly figure: string
  readonly label: string
  readonly unit: string
  /** Whether more is better; for the picture. */
  readonly better: 'more' | 'less'
  /** Without one the figure is for information. */
  readonly target?: Target
}

/** What the viewers of a run were to get, and what they got. */
export interface Delivery {
  readonly expected: number
  readonly received: number
  readonly missing: number
  readonly doubled: number
  readonly reordered: number
  readonly gaps: number
  readonly closed: number
}

export interface Run {
  readonly figures: Readonly<Record<string, number>>
  /** Absent where no events are delivered. */
  readonly delivery?: Delivery
  /** What else than the server kept the figures down, in words. */
  readonly limits: readonly string[]
}

/** How much of everything there is in a run. */
export interface Scale {
  readonly warmUpMs: number
  readonly measureMs: number
  /** Of a number that a full run takes, what this one takes: between 0 and 1. */
  readonly share: number
}

export interface RunContext {
  readonly scale: Scale
  /** What one turn measures of what a round does: 1 / {@link Workload.turnsPerRound}. */
  readonly part: number
  /** Where to write a CPU profile of the measured part; null = none is taken. */
  readonly profile: string | null
}

/** One side of a workload: set up when the first turn is asked for, and ended by `return`. Each turn measures anew. */
export type Turns = AsyncGenerator<Run, void, void>

export interface Workload {
  readonly name: string
  readonly title: string
  /** What the product is compared with, in words. */
  readonly reference: string
  readonly measures: readonly Measure[]
  /** A server that does as little as can be, in words: what the machine permits. Measured like the product. */
  readonly ceiling?: string
  /**
   * In how many turns a round is measured, of all sides alternately, which are up all the while. For loads that can be
   * paused: in turns so short the machine is as fast for one side as for the other. Default 1: each
   * side by itself.
   */
  readonly turnsPerRound?: number
  /**
   * Set up for all rounds, where that takes long. Else for each round anew, since a process may be luckier than another
   * one of the same program: how its code was compiled, where its memory lies.
   */
  readonly staysUp?: boolean
  measure(side: Side, context: RunContext): Turns
  /** The same load by the neutral client in this folder, in one turn; absent where it has no such load. */
  neutral?(side: Side, context: RunContext, folder: string): Turns
}

/** The server of a side. */
export function serverOf(side: Side, reference: ServerKind, ceiling = reference): ServerKind {
  return { reference, product: 'gateway', ceiling }[side] as ServerKind
}

// What a workload is: how a run of it goes, which figures come out, and what is to be reached.

import type { ServerKind } from './server.ts'

/** Each workload runs on both, in turns. */
export type Side = 'reference' | 'product'

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
  /** Where to write a CPU profile of the measured part; null = none is taken. */
  readonly profile: string | null
}

export interface Workload {
  readonly name: string
  readonly title: string
  /** What the product is compared with, in words. */
  readonly reference: string
  readonly measures: readonly Measure[]
  run(side: Side, context: RunContext): Promise<Run>
  /** The same load by the neutral client in this folder; absent where it has no such load. */
  neutralRun?(side: Side, context: RunContext, folder: string): Promise<Run>
}

/** The server of a side. */
export function serverOf(side: Side, reference: ServerKind): ServerKind {
  return side === 'product' ? 'gateway' : reference
}

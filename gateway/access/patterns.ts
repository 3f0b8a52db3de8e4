// Sets of names: tasks, task types or channels that a credential reaches. Pure.

import { z } from 'zod'

const pattern = z
  .string()
  .regex(/^(?=.)[A-Za-z0-9:._-]{0,128}\*?$/, 'must be a name, or the beginning of names and *')

/** A credential's list of patterns. */
export const patternList = z.array(pattern).max(50)

export class Patterns {
  readonly #exact = new Set<string>()
  readonly #prefixes: string[] = []

  /** Each is a name, the beginning of names and `*`, or `*` alone. */
  constructor(patterns: Iterable<string>) {
    for (const pattern of patterns) {
      if (pattern.endsWith('*')) this.#prefixes.push(pattern.slice(0, -1))
      else this.#exact.add(pattern)
    }
  }

  /** Whether it has no name at all. */
  get isEmpty(): boolean {
    return this.#exact.size === 0 && this.#prefixes.length === 0
  }

  has(name: string): boolean {
    return this.#exact.has(name) || this.#prefixes.some(prefix => name.startsWith(prefix))
  }

  /** Whether it has every name that fits a pattern. */
  covers(pattern: string): boolean {
    if (!pattern.endsWith('*')) return this.has(pattern)
    return this.#prefixes.some(prefix => pattern.slice(0, -1).startsWith(prefix))
  }
}

export const NOTHING = new Patterns([])
export const EVERYTHING = new Patterns(['*'])

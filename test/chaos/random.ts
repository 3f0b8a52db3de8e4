// Random numbers that come again from the same seed.

import { uniformInt } from 'pure-rand/distribution/uniformInt'
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus'

const INT32 = 0x7fffffff

export class Random {
  readonly #generator: ReturnType<typeof xoroshiro128plus>

  /** `seed`: a whole number of 32 bits. */
  constructor(seed: number) {
    this.#generator = xoroshiro128plus(seed)
  }

  /** A whole number from `min` to `max`, both included. */
  int(min: number, max: number): number {
    return uniformInt(this.#generator, min, max)
  }

  /** True in this many of 100 cases. */
  chance(percent: number): boolean {
    return this.int(1, 100) <= percent
  }

  pick<T>(list: readonly T[]): T {
    return list[this.int(0, list.length - 1)]!
  }

  /** A copy in another order. */
  shuffle<T>(list: readonly T[]): T[] {
    const shuffled = [...list]
    for (let i = shuffled.length - 1; i > 0; i--) {
      const k = this.int(0, i)
      ;[shuffled[i], shuffled[k]] = [shuffled[k]!, shuffled[i]!]
    }
    return shuffled
  }

  /** One for a part of its own, so that what one part draws does not depend on when another one does. */
  fork(): Random {
    return new Random(this.int(0, INT32))
  }
}

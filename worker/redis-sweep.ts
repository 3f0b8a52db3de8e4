// What the reconciler reads and writes in Redis: whose turn it is, how far it has come, and the sets it walks.

import type { Redis } from 'ioredis'
import {
  INDEX_KEY,
  KEYS_IN_USE_KEY,
  OPEN_KEY,
  RECONCILER_CURSORS_KEY,
  RECONCILER_KEY,
} from '../shared/keys.ts'

const SETS = { open: OPEN_KEY, index: INDEX_KEY, keys: KEYS_IN_USE_KEY } as const

/** The set of the open tasks, that of all retained ones, and that of the concurrency keys. */
export type SweptSet = keyof typeof SETS

export class RedisSweep {
  readonly #redis: Redis

  constructor(redis: Redis) {
    this.#redis = redis
  }

  /** Takes the turn for this long, unless another worker has it. It is not given back but runs out. */
  async takeTurn(worker: string, durationMs: number): Promise<boolean> {
    return (await this.#redis.set(RECONCILER_KEY, worker, 'PX', durationMs, 'NX')) === 'OK'
  }

  /** The next members after those that were read last, by whichever worker; at the end it begins anew. */
  async next(set: SweptSet, count: number): Promise<string[]> {
    const cursor = await this.#redis.hget(RECONCILER_CURSORS_KEY, set)
    const from = cursor ? `(${cursor}` : '-'
    const members = await this.#redis.zrange(SETS[set], from, '+', 'BYLEX', 'LIMIT', 0, count)
    const last = members.length < count ? '' : (members.at(-1) ?? '')
    await this.#redis.hset(RECONCILER_CURSORS_KEY, set, last)
    return members
  }

  async drop(set: SweptSet, members: readonly string[]): Promise<void> {
    if (members.length > 0) await this.#redis.zrem(SETS[set], ...members)
  }
}

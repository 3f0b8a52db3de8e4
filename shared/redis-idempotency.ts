// What is known of requests that carry an idempotency key: which request a key stands for, whether a gateway works
// on it, and what it was answered. That nothing is done twice does not hang on it, since two gateways may hold one
// request when one of them was thought dead; the appends that such requests make are done only once each.

import { createHash, randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Redis } from 'ioredis'
import type { Once } from './event-log.ts'
import { idempotencyKey, idempotencyLeaseKey } from './keys.ts'

/** A key is forgotten this long after its first use. */
const KEPT_MS = 24 * 60 * 60 * 1000

/** A gateway answers sooner, or says that it doesn't know; so past this the request may be taken up again. */
const LEASE_MS = 3_000

/** A request that may be repeated. */
export interface KeyedRequest {
  /** The one that its sender gave, with who that is. */
  readonly key: string
  /** Differs between requests that ask for different things. */
  readonly fingerprint: string
}

/**
 * Who asks first, or again after its gateway was lost (`isTakenUp`), gets `mine`, the first one's memo, and a lease that
 * tells it from others who held the key before or take it up later.
 */
export type Claim<Memo, Answer> =
  | { state: 'mine'; memo: Memo; isTakenUp: boolean; lease: string }
  | { state: 'answered'; memo: Memo; answer: Answer }
  | { state: 'in-progress' }
  /** The key stands for another request. */
  | { state: 'reused' }

/** What release needs of a claim. */
type Held = Pick<Claim<unknown, unknown> & { state: 'mine' }, 'lease' | 'isTakenUp'>

interface Stored<Memo, Answer> {
  readonly fingerprint: string
  readonly memo: Memo
  readonly answer?: Answer
}

interface ReleaseCommand {
  millraceReleaseKey(leaseKey: string, key: string, lease: string, isForgotten: '1' | ''): Promise<0 | 1>
}

const RELEASE = readFileSync(new URL('./release-idempotency-key.lua', import.meta.url), 'utf8')

export class IdempotencyRecords {
  readonly #redis: Redis & ReleaseCommand

  /** `redis` stays the caller's. */
  constructor(redis: Redis) {
    redis.defineCommand('millraceReleaseKey', { lua: RELEASE, numberOfKeys: 2 })
    this.#redis = redis as Redis & ReleaseCommand
  }

  /** Claims a key. `memo` is what a repetition needs to ask for the very same thing; it and the answer are JSON. */
  async claim<Memo, Answer>(request: KeyedRequest, memo: Memo): Promise<Claim<Memo, Answer>> {
    const { fingerprint } = request
    const digest = digestOf(request.key)
    const mine = JSON.stringify({ fingerprint, memo } satisfies Stored<Memo, Answer>)
    const lease = randomUUID()
    const replies = await this.#redis
      .multi()
      .set(idempotencyKey(digest), mine, 'PX', KEPT_MS, 'NX', 'GET')
      .set(idempotencyLeaseKey(digest), lease, 'PX', LEASE_MS, 'NX')
      .exec()
    const [before, taken] = (replies ?? []).map(([error, reply]) => {
      if (error) throw error
      return reply as string | null
    })
    if (typeof before !== 'string') return { state: 'mine', memo, isTakenUp: false, lease }
    const stored = JSON.parse(before) as Stored<Memo, Answer>
    if (stored.fingerprint !== fingerprint) return { state: 'reused' }
    if (stored.answer !== undefined) return { state: 'answered', memo: stored.memo, answer: stored.answer }
    if (taken !== 'OK') return { state: 'in-progress' }
    return { state: 'mine', memo: stored.memo, isTakenUp: true, lease }
  }

  /** Keeps the answer of a claimed request, for those who ask again. */
  async settle<Memo, Answer>({ key, fingerprint }: KeyedRequest, memo: Memo, answer: Answer): Promise<void> {
    const stored = JSON.stringify({ fingerprint, memo, answer } satisfies Stored<Memo, Answer>)
    await this.#redis.set(idempotencyKey(digestOf(key)), stored, 'KEEPTTL', 'XX')
  }

  /**
   * Gives a key free whose request was refused, so that nothing came of it. Where it was taken up something may have
   * come of it before: then it stays the same request's, which may be taken up again. Does nothing when the lease is over.
   */
  async release({ key }: KeyedRequest, { lease, isTakenUp }: Held): Promise<void> {
    const digest = digestOf(key)
    const keys = [idempotencyLeaseKey(digest), idempotencyKey(digest)] as const
    await this.#redis.millraceReleaseKey(...keys, lease, isTakenUp ? '' : '1')
  }
}

/**
 * Makes each append of a keyed request one that is done at most once. `part` tells those from each other that the
 * request asks of the same channel.
 */
export function onceOf({ key, fingerprint }: KeyedRequest, part?: number): Once {
  const ofPart = part === undefined ? fingerprint : `${fingerprint}.${part}`
  return { key: digestOf(key), fingerprint: ofPart, keptMs: KEPT_MS }
}

/** Of what differs between two requests: any text, as 43 characters without blanks. */
export function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('base64url')
}

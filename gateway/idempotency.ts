// Carries out requests with an idempotency key: once, however often they come, and answers all alike.

import { MillraceError } from '../shared/errors.ts'
import type { IdempotencyRecords, KeyedRequest } from '../shared/redis-idempotency.ts'
import { keyReused } from './http/idempotency-key.ts'

/**
 * Does `work`, unless it was done for an equal request: then gives that one's answer. `memo` is what work must have
 * the same whenever it is done for one request, in whichever gateway; each time it gets the first one's. Work may be
 * done again where it broke off, and must see to it that nothing comes of that.
 *
 * Throws what work throws; if that is a refusal the key is free again, unless the work was taken up. Throws
 * `idempotency-key-reused` and `idempotency-in-progress`.
 */
export async function onlyOnce<Memo, Answer>(
  records: IdempotencyRecords,
  request: KeyedRequest,
  memo: Memo,
  work: (memo: Memo) => Promise<Answer>,
): Promise<{ answer: Answer; replayed: boolean }> {
  const claim = await records.claim<Memo, Answer>(request, memo)
  switch (claim.state) {
    case 'reused':
      throw keyReused()
    case 'in-progress':
      throw new MillraceError(
        'idempotency-in-progress',
        'the first request with this key is not answered yet',
      )
    case 'answered':
      return { answer: claim.answer, replayed: true }
    case 'mine': {
      const answer = await work(claim.memo).catch(async error => {
        if (error instanceof MillraceError) await records.release(request, claim).catch(() => undefined)
        throw error
      })
      // Where this fails a repetition does the work again, and gets the same.
      await records.settle(request, claim.memo, answer).catch(() => undefined)
      return { answer, replayed: false }
    }
  }
}

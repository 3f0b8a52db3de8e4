import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { MAX_RETRY_DELAY_MS, retryDelayMs } from '../../worker/retry-delay.ts'

describe('the pause before a further attempt', () => {
  test('is none without a backoff', () => {
    expect(retryDelayMs(null, 3)).toBe(0)
  })

  test('stays the same when it is fixed', () => {
    const backoff = { type: 'fixed', delayMs: 250 } as const
    expect([1, 2, 24].map(attempt => retryDelayMs(backoff, attempt))).toEqual([250, 250, 250])
  })

  test('doubles with each further attempt when it is exponential', () => {
    const backoff = { type: 'exponential', delayMs: 100 } as const
    expect([1, 2, 3, 4].map(attempt => retryDelayMs(backoff, attempt))).toEqual([100, 200, 400, 800])
  })

  test('varies by the share that is jitter', () => {
    const backoff = { type: 'fixed', delayMs: 1_000, jitter: 0.25 } as const
    expect(retryDelayMs(backoff, 1, () => 0)).toBe(1_000)
    expect(retryDelayMs(backoff, 1, () => 1)).toBe(750)
  })

  test('is a whole number within its bounds, whatever is asked', () => {
    const backoff = fc.record({
      type: fc.constantFrom('fixed' as const, 'exponential' as const),
      delayMs: fc.nat(MAX_RETRY_DELAY_MS),
      jitter: fc.double({ min: 0, max: 1, noNaN: true }),
    })
    fc.assert(
      fc.property(backoff, fc.integer({ min: 1, max: 25 }), (asked, attempt) => {
        const delay = retryDelayMs(asked, attempt)
        expect(Number.isInteger(delay) && delay >= 0 && delay <= MAX_RETRY_DELAY_MS).toBe(true)
      }),
    )
  })
})

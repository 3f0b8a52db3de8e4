import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { LatencyHistogram } from '../../bench/load/latency-histogram.ts'

describe('a histogram of latencies', () => {
  test('answers percentiles that are off by less than one percent', () => {
    const values = fc.array(fc.integer({ min: 0, max: 2 ** 31 - 1 }), { minLength: 1, maxLength: 300 })
    fc.assert(
      fc.property(values, fc.constantFrom(0.5, 0.9, 0.99, 1), (micros, share) => {
        const histogram = new LatencyHistogram()
        for (const us of micros) histogram.record(us)
        const sorted = [...micros].sort((a, b) => a - b)
        const exactMs = sorted[Math.ceil(share * sorted.length) - 1]! / 1000
        expect(Math.abs(histogram.percentileMs(share) - exactMs)).toBeLessThanOrEqual(exactMs * 0.01)
      }),
    )
  })

  test('has no percentile while it is empty, also after it was cleared', () => {
    const histogram = new LatencyHistogram()
    histogram.record(5)
    histogram.clear()
    expect(histogram.percentileMs(0.5)).toBeNaN()
  })
})

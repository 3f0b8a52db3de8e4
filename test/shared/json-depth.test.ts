import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { isDeeperThan } from '../../shared/json-depth.ts'

function depthOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0
  return 1 + Math.max(0, ...Object.values(value).map(depthOf))
}

test('counts arrays and objects, and not what looks like them in strings', () => {
  const text = fc.string({ unit: fc.constantFrom('[', '{', ']', '}', '"', '\\', 'a') })
  const { value } = fc.letrec<{ value: unknown }>(tie => ({
    value: fc.oneof(
      { maxDepth: 6, depthSize: 'large' },
      text,
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(text, tie('value'), { maxKeys: 3 }),
    ),
  }))
  fc.assert(
    fc.property(value, fc.nat(7), (value, max) => {
      expect(isDeeperThan(max, JSON.stringify(value))).toBe(depthOf(value) > max)
    }),
    { numRuns: 2_000 },
  )
})

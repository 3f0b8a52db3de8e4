import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { comparePositions, formatPosition, ORIGIN, parsePosition, relate } from '../../shared/event-id.ts'

const position = fc.record({ epoch: fc.integer({ min: 1, max: 4_000_000_000_000 }), seq: fc.nat() })

describe('position', () => {
  test('reads back what it wrote', () => {
    fc.assert(fc.property(position, p => expect(parsePosition(formatPosition(p))).toEqual(p)))
  })

  test('has exactly one successor within its epoch', () => {
    fc.assert(
      fc.property(position, fc.integer({ min: -5, max: 5 }), (p, step) => {
        const next = { epoch: p.epoch, seq: p.seq + step }
        expect(relate(p, next)).toBe(step === 1 ? 'successor' : step <= 0 ? 'duplicate' : 'hole')
      }),
    )
  })

  test('never takes an event of another epoch for its successor', () => {
    fc.assert(
      fc.property(position, position, (p, q) => {
        fc.pre(p.epoch !== q.epoch)
        expect(relate(p, q)).toBe(q.epoch < p.epoch ? 'duplicate' : 'hole')
      }),
    )
  })

  test('at the origin is followed by the first event of any epoch alone', () => {
    fc.assert(fc.property(position, p => expect(relate(ORIGIN, p)).toBe(p.seq === 1 ? 'successor' : 'hole')))
  })

  test('orders by epoch, then by number', () => {
    const sorted = ['5-9', '5-10', '40-1'].map(text => parsePosition(text) ?? ORIGIN)
    expect([...sorted].reverse().sort(comparePositions)).toEqual(sorted)
  })
})

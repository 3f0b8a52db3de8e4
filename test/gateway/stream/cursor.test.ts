import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { singleCursor, vectorCursor } from '../../../gateway/stream/cursor.ts'

const position = fc.record({ epoch: fc.nat(4_000_000_000_000), seq: fc.nat() })
const channel = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9:._-]{0,30}$/)

describe('cursor', () => {
  test('of one channel is its position, and nothing else is', () => {
    const codec = singleCursor('a')
    expect(codec.format([{ epoch: 1795325520000, seq: 7 }])).toBe('1795325520000-7')
    expect(codec.parse('1795325520000-7')).toEqual([{ epoch: 1795325520000, seq: 7 }])
    for (const text of [
      '',
      '7',
      '1-',
      '-1',
      '1-2-3',
      '1-2 ',
      'x-1',
      '1.5-2',
      '9999999999999999-1',
      '１-１',
    ]) {
      expect(codec.parse(text)).toBeNull()
    }
  })

  test('of several channels reads back what it wrote, in whatever order they are named', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(channel, { minLength: 1, maxLength: 50 }),
        fc.func(position),
        (channels, place) => {
          const codec = vectorCursor(channels)
          const positions = codec.channels.map(place)
          expect(vectorCursor([...channels].reverse()).parse(codec.format(positions))).toEqual(positions)
        },
      ),
    )
  })

  test('of other channels, or torn, is none', () => {
    const codec = vectorCursor(['a', 'b'])
    const text = codec.format([
      { epoch: 1, seq: 1 },
      { epoch: 2, seq: 2 },
    ])
    expect(vectorCursor(['a', 'c']).parse(text)).toBeNull()
    expect(vectorCursor(['a']).parse(text)).toBeNull()
    expect(codec.parse(text.slice(0, -4))).toBeNull()
    expect(codec.parse(`${text}.1-1`)).toBeNull()
    expect(codec.parse('1795325520000-7')).toBeNull()
  })

  test('fits into a header with 50 channels', () => {
    const codec = vectorCursor(Array.from({ length: 50 }, (_, i) => `channel-${i}`))
    const text = codec.format(codec.channels.map(() => ({ epoch: 1795325520000, seq: 123_456_789 })))
    expect(text.length).toBeLessThan(1_024)
    expect(text).toMatch(/^[A-Za-z0-9._-]+$/)
  })
})

import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { FramedEvent } from '../../../gateway/stream/sse-frame.ts'
import { Tail, TailBudget } from '../../../gateway/stream/tail.ts'

const event = (seq: number, bytes = 10, epoch = 1) =>
  new FramedEvent({ epoch, seq, type: 'x', time: 0, format: 'json', data: Buffer.alloc(bytes, 0x31) })
const seqs = (events: readonly { seq: number }[]) => events.map(({ seq }) => seq)
const budget = (maxBytes = 1e9) => new TailBudget(maxBytes)

describe('tail', () => {
  test('answers exactly what follows a position, and knows what it holds', () => {
    const tail = new Tail(budget())
    for (let seq = 5; seq <= 8; seq++) tail.push(event(seq))
    expect(seqs(tail.after({ epoch: 1, seq: 6 }))).toEqual([7, 8])
    expect(seqs(tail.after({ epoch: 1, seq: 4 }))).toEqual([5, 6, 7, 8])
    expect(seqs(tail.after({ epoch: 1, seq: 8 }))).toEqual([])
    const known = [3, 4, 8, 9].filter(seq => tail.knows({ epoch: 1, seq }))
    expect(known).toEqual([4, 8])
    expect(tail.after({ epoch: 1, seq: 3 })).toEqual([])
    expect(tail.after({ epoch: 1, seq: 9 })).toEqual([])
    expect(tail.after({ epoch: 2, seq: 6 })).toEqual([])
  })

  test('reaches back to the origin only when it holds what is known to be the first event', () => {
    const origin = { epoch: 0, seq: 0 }
    const tail = new Tail(budget())
    tail.push(event(1))
    // Events of an older epoch may stand before it.
    expect(tail.after(origin)).toEqual([])
    expect(tail.start).toBeNull()
    tail.noteOldest(event(1))
    expect(seqs(tail.after(origin))).toEqual([1])
    expect(tail.start).toEqual({ epoch: 1, seq: 0 })
    expect(tail.after({ epoch: 0, seq: 1 })).toEqual([])
    const late = new Tail(budget())
    late.push(event(2))
    late.noteOldest(event(1))
    expect(late.start).toBeNull()
    late.noteOldest(event(2))
    expect(late.start).toEqual({ epoch: 1, seq: 1 })
    expect(late.after(origin)).toEqual([])
    for (let seq = 3; seq <= 5_000; seq++) late.push(event(seq, 1))
    expect(late.start).toBeNull()
  })

  test('takes pages before, behind and over what it holds, and what joins is one run', () => {
    const tail = new Tail(budget())
    const page = (from: number, to: number) =>
      Array.from({ length: to - from + 1 }, (_, i) => event(from + i))
    const from = (seq: number) => seqs(tail.after({ epoch: 1, seq }))
    tail.push(event(300))
    tail.add(page(260, 290))
    // Neither end joins what is here.
    expect(from(259)).toEqual([])
    tail.add(page(257, 310))
    expect(from(256)).toEqual(page(257, 310).map(({ seq }) => seq))
    tail.push(event(311))
    tail.add(page(100, 128))
    expect(from(99)).toEqual(page(100, 128).map(({ seq }) => seq))
    tail.add(page(129, 256))
    expect(from(99)).toEqual(page(100, 311).map(({ seq }) => seq))
  })

  test('tells no start of a log of which it lacks a part, since that may be trimmed by now', () => {
    const tail = new Tail(budget())
    tail.add([event(1), event(2)])
    tail.noteOldest(event(1))
    expect(tail.start).toEqual({ epoch: 1, seq: 0 })
    tail.push(event(400))
    expect(tail.start).toBeNull()
  })

  test('lets go of large events one by one, so that those just before are still there', () => {
    const tail = new Tail(budget())
    for (let seq = 1; seq <= 300; seq++) tail.push(event(seq, 16_000))
    // Across the end of a block, which alone holds as many bytes as a tail.
    expect(seqs(tail.after({ epoch: 1, seq: 200 }))).toHaveLength(100)
    expect(tail.after({ epoch: 1, seq: 100 })).toEqual([])
  })

  test('starts anew after a hole or another epoch', () => {
    const tail = new Tail(budget())
    tail.push(event(1))
    tail.push(event(3))
    expect(tail.after({ epoch: 1, seq: 0 })).toEqual([])
    expect(seqs(tail.after({ epoch: 1, seq: 2 }))).toEqual([3])
    tail.push(event(1, 10, 2))
    expect(tail.after({ epoch: 1, seq: 2 })).toEqual([])
  })

  test('stays within its bounds and its budget, and keeps the newest event', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 200_000 }), { maxLength: 60 }), sizes => {
        const shared = budget(3_000_000)
        const tail = new Tail(shared)
        sizes.forEach((bytes, i) => {
          tail.push(event(i + 1, bytes))
          expect(shared.usedBytes).toBeLessThanOrEqual(3_000_000)
          expect(seqs(tail.after({ epoch: 1, seq: i }))).toEqual([i + 1])
        })
        tail.clear()
        expect(shared.usedBytes).toBe(0)
      }),
      { numRuns: 50 },
    )
    const tail = new Tail(budget())
    for (let seq = 1; seq <= 5_000; seq++) tail.push(event(seq, 1))
    expect(tail.after({ epoch: 1, seq: 1 })).toEqual([])
    expect(seqs(tail.after({ epoch: 1, seq: 4_999 }))).toEqual([5_000])
  })

  test('gives way to busier ones when all together hold too much, however many they are', () => {
    const shared = budget(1_000_000)
    const quiet = new Tail(shared)
    for (let seq = 1; seq <= 5; seq++) quiet.push(event(seq, 100_000))
    const busy = new Tail(shared)
    for (let seq = 1; seq <= 5; seq++) busy.push(event(seq, 100_000))
    expect(quiet.after({ epoch: 1, seq: 4 })).toEqual([])
    expect(seqs(busy.after({ epoch: 1, seq: 0 }))).toEqual([1, 2, 3, 4, 5])
    for (let i = 0; i < 100; i++) new Tail(shared).push(event(1, 50_000))
    expect(shared.usedBytes).toBeLessThanOrEqual(1_000_000)
  })
})

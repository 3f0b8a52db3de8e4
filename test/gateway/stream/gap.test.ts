import { describe, expect, test } from '@jest/globals'
import { belongsTo, gapAtHead, gapBefore, startOf } from '../../../gateway/stream/gap.ts'
import { ORIGIN } from '../../../shared/event-id.ts'

const at = (epoch: number, seq: number) => ({ epoch, seq })

describe('gap', () => {
  test('is none before the exact successor, nor before the first event of a log that had none', () => {
    expect(gapBefore(at(5, 3), at(5, 4))).toBeNull()
    expect(gapBefore(ORIGIN, at(5, 1))).toBeNull()
  })

  test('counts what was trimmed', () => {
    expect(gapBefore(at(5, 3), at(5, 10))).toEqual({ reason: 'trimmed', missed: 6, resumeAfter: at(5, 9) })
    expect(gapBefore(ORIGIN, at(5, 10))).toEqual({ reason: 'trimmed', missed: 9, resumeAfter: at(5, 9) })
  })

  test('is a reset before another epoch, whose loss nobody can count', () => {
    expect(gapBefore(at(5, 3), at(6, 1))).toEqual({ reason: 'reset', missed: null, resumeAfter: at(6, 0) })
  })

  test('shows at the head when the log is shorter, gone or emptied', () => {
    expect(gapAtHead(at(5, 3), at(5, 3))).toBeNull()
    expect(gapAtHead(ORIGIN, null)).toBeNull()
    expect(gapAtHead(at(5, 3), at(5, 2))?.reason).toBe('reset')
    expect(gapAtHead(at(5, 3), null)).toEqual({ reason: 'reset', missed: null, resumeAfter: ORIGIN })
    expect(gapAtHead(at(5, 3), at(5, 7))).toEqual({ reason: 'trimmed', missed: 4, resumeAfter: at(5, 7) })
    expect(gapAtHead(at(5, 3), at(6, 0))?.resumeAfter).toEqual(at(6, 0))
  })

  test('tells cursors of this log from others', () => {
    expect(belongsTo(at(5, 3), at(5, 3))).toBe(true)
    expect(belongsTo(at(5, 0), at(5, 3))).toBe(true)
    expect(belongsTo(at(5, 4), at(5, 3))).toBe(false)
    expect(belongsTo(at(4, 1), at(5, 3))).toBe(false)
    expect(belongsTo(at(4, 1), null)).toBe(false)
    expect(belongsTo(ORIGIN, null)).toBe(true)
  })

  test('starts a log just before its oldest event', () => {
    expect(startOf({ events: [], head: null })).toEqual(ORIGIN)
    expect(startOf({ events: [], head: at(5, 9) })).toEqual(at(5, 9))
  })
})

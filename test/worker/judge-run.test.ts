import { describe, expect, test } from '@jest/globals'
import { judgeRun } from '../../worker/judge-run.ts'
import type { Settlement } from '../../worker/run-handler.ts'
import type { StopCause } from '../../worker/task-run.ts'
import { taskRecord } from './task-record-fixture.ts'

const returned: Settlement = { how: 'returned', value: 1 }
const threw: Settlement = { how: 'threw', error: new Error('no') }
const cutOff: Settlement = { how: 'cut-off' }

function judge(settlement: Settlement, causes: StopCause[] = [], attempts = 1) {
  return judgeRun(taskRecord({ attempts }), settlement, cause => causes.includes(cause))
}

describe('what the end of a run means', () => {
  test('a result completes the task', () => {
    expect(judge(returned)).toEqual({ kind: 'end', outcome: { state: 'completed', result: 1 } })
  })

  test('an error is followed by another attempt while there is one, and fails the task then', () => {
    expect(judge(threw, [], 2)).toMatchObject({ kind: 'retry', error: { message: 'no' } })
    expect(judge(threw)).toMatchObject({ kind: 'end', outcome: { state: 'failed' } })
  })

  test('an error that is not retryable fails the task at once', () => {
    const final: Settlement = { how: 'threw', error: { message: 'no', retryable: false } }
    expect(judge(final, [], 5)).toMatchObject({ kind: 'end', outcome: { state: 'failed' } })
  })

  test('a timeout is a failed attempt, even when the handler returns in the end', () => {
    for (const settlement of [returned, threw, cutOff])
      expect(judge(settlement, ['timeout'], 2)).toMatchObject({ kind: 'retry', error: { code: 'timeout' } })
  })

  test('a cancellation wins over whatever the handler did, and over a timeout', () => {
    for (const settlement of [returned, threw, cutOff])
      expect(judge(settlement, ['timeout', 'cancelled'], 2)).toMatchObject({
        outcome: { state: 'cancelled' },
      })
  })

  test('a drain gives the task back unless its handler has a result', () => {
    expect(judge(returned, ['drain'])).toMatchObject({ outcome: { state: 'completed' } })
    expect(judge(threw, ['drain'])).toEqual({ kind: 'hand-back' })
    expect(judge(cutOff, ['drain'])).toEqual({ kind: 'hand-back' })
  })

  test('a run that lost its lock decides nothing', () => {
    for (const settlement of [returned, threw, cutOff])
      expect(judge(settlement, ['cancelled', 'lock-lost'])).toEqual({ kind: 'leave' })
  })
})

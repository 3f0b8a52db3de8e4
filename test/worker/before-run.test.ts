import { describe, expect, test } from '@jest/globals'
import type { TaskRecord } from '../../shared/task.ts'
import { beforeRun, MAX_LOST_RUNS } from '../../worker/before-run.ts'
import { taskRecord } from './task-record-fixture.ts'

const NOW = 100_000
const step = (fields: Partial<TaskRecord>) => beforeRun(taskRecord(fields), NOW)
const running = { state: 'running', run: 3, startedAt: 50_000 } as const

describe('what a worker does with a task that it is given', () => {
  test('runs one that waits', () => {
    expect(step({})).toEqual({ step: 'run' })
  })

  test('leaves one that has ended alone', () => {
    for (const state of ['completed', 'failed', 'cancelled', 'expired'] as const)
      expect(step({ state, cancelRequested: true, expiresAt: 1 })).toEqual({ step: 'none' })
  })

  test('cancels one that is to be cancelled, with the reason that was given', () => {
    expect(step({ ...running, cancelRequested: true, cancelReason: 'enough' })).toEqual({
      step: 'end',
      outcome: { state: 'cancelled', reason: 'enough' },
    })
  })

  test('expires one that was not started in time, and no other', () => {
    expect(step({ expiresAt: NOW })).toMatchObject({ outcome: { state: 'expired' } })
    expect(step({ expiresAt: NOW + 1 })).toEqual({ step: 'run' })
    expect(step({ ...running, expiresAt: NOW })).toEqual({ step: 'run' })
  })

  test('waits for one that is not due', () => {
    expect(step({ state: 'scheduled', runAt: NOW + 1 })).toEqual({ step: 'wait', until: NOW + 1 })
    expect(step({ state: 'scheduled', runAt: NOW })).toEqual({ step: 'run' })
  })

  test('gives one up whose workers were lost too often', () => {
    const lost = { ...running, lostRuns: MAX_LOST_RUNS - 1 }
    expect(step(lost)).toMatchObject({ outcome: { state: 'failed', error: { code: 'worker-lost' } } })
    expect(step({ ...lost, handedBackRun: 3 })).toEqual({ step: 'run' })
    expect(step({ ...lost, lostRuns: MAX_LOST_RUNS - 2 })).toEqual({ step: 'run' })
  })
})

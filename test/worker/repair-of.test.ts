import { describe, expect, test } from '@jest/globals'
import type { TaskRecord } from '../../shared/task.ts'
import { repairOf } from '../../worker/reconciler.ts'
import { taskRecord } from './task-record-fixture.ts'

const CREATED = 1_000
const LATER = CREATED + 3_600_000
const repair = (fields: Partial<TaskRecord>, jobless = true, now = LATER) =>
  repairOf(CREATED, taskRecord({ createdAt: CREATED, ...fields }), jobless, now)

describe('what the entry of an open task needs', () => {
  test('nothing while its job is there', () => {
    expect(repair({}, false)).toBe('keep')
  })

  test('a new job when it has none, but not while it may still be submitted', () => {
    for (const state of ['queued', 'scheduled', 'running'] as const) expect(repair({ state })).toBe('enqueue')
    expect(repair({}, true, CREATED + 1)).toBe('keep')
  })

  test('to be closed when its task has ended', () => {
    expect(repair({ state: 'completed' }, false)).toBe('close')
  })

  test('to go when no record comes for it', () => {
    expect(repairOf(CREATED, null, true, LATER)).toBe('drop')
    expect(repairOf(CREATED, null, true, CREATED + 1)).toBe('keep')
  })

  test('to go when its id belongs to another task', () => {
    expect(repair({ createdAt: CREATED - 1 })).toBe('drop')
  })

  test('to expire when it was not started in time', () => {
    expect(repair({ expiresAt: LATER }, false)).toBe('expire')
    expect(repair({ expiresAt: LATER, startedAt: CREATED, state: 'running' }, false)).toBe('keep')
  })
})

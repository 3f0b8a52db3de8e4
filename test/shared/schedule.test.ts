import { describe, expect, test } from '@jest/globals'
import { nextRun, SCHEDULE_ID, scheduledTaskId } from '../../shared/schedule.ts'
import { TASK_ID } from '../../shared/task.ts'

/** The next runs after a moment. */
function runs(cron: string, timeZone: string, from: string, count: number): string[] {
  const found: number[] = []
  for (let i = 0; i < count; i++) found.push(nextRun(cron, timeZone, found.at(-1) ?? Date.parse(from)) ?? 0)
  return found.map(time => new Date(time).toISOString().slice(0, 16))
}

describe('a cron schedule', () => {
  test('goes by the clock of its time zone', () => {
    expect(runs('0 9 * * *', 'UTC', '2026-07-01T00:00Z', 1)).toEqual(['2026-07-01T09:00'])
    expect(runs('0 9 * * *', 'Asia/Kolkata', '2026-07-01T00:00Z', 1)).toEqual(['2026-07-01T03:30'])
  })

  test('keeps to that clock when it is changed', () => {
    const days = runs('0 9 * * *', 'Europe/Berlin', '2026-10-24T00:00Z', 2)
    expect(days).toEqual(['2026-10-24T07:00', '2026-10-25T08:00'])
  })

  test('runs an hour late, and once, on the night on which its hour is left out', () => {
    const nights = runs('30 2 * * *', 'Europe/Berlin', '2027-03-27T00:00Z', 3)
    expect(nights).toEqual(['2027-03-27T01:30', '2027-03-28T01:30', '2027-03-29T00:30'])
  })

  test('runs once on the night on which its hour comes twice', () => {
    const nights = runs('30 2 * * *', 'Europe/Berlin', '2026-10-24T12:00Z', 2)
    expect(nights).toEqual(['2026-10-25T00:30', '2026-10-26T01:30'])
  })

  test('that is hourly runs in both of these hours', () => {
    const hours = runs('0 * * * *', 'Europe/Berlin', '2026-10-24T23:30Z', 3)
    expect(hours).toEqual(['2026-10-25T00:00', '2026-10-25T01:00', '2026-10-25T02:00'])
  })
})

test('the longest id of a schedule makes ids of tasks', () => {
  const longest = '0'.repeat(50)
  expect(SCHEDULE_ID.test(longest)).toBe(true)
  expect(SCHEDULE_ID.test(`${longest}0`)).toBe(false)
  expect(TASK_ID.test(scheduledTaskId(longest, 4_102_444_800_000))).toBe(true)
})

// A schedule: when its runs are due, the task that each of them submits, and the form in which callers see it.
// Pure.

import { defaultRepeatStrategy } from 'bullmq'
import type { TaskRequest } from './task.ts'

/** As short as this, so that the ids of its tasks, which end in the time of the run, are task ids. */
export const SCHEDULE_ID = /^[A-Za-z0-9_-]{1,50}$/

/** By a cron expression in a time zone, or every so many ms. */
export type Timing = { readonly cron: string; readonly timeZone: string } | { readonly everyMs: number }

/** What a run submits; all defaults filled in when the schedule was put. */
export type TaskTemplate = Omit<TaskRequest, 'id' | 'delayMs' | 'scheduleId'>

/** Times in ms since 1970. */
export interface Schedule {
  readonly id: string
  readonly timing: Timing
  readonly task: TaskTemplate
  readonly createdAt: number
  readonly updatedAt: number
  /** In the past when no worker has come to it yet. */
  readonly nextRunAt: number
  /** Of the run before; it may be no longer retained. */
  readonly lastTaskId: string | null
}

/**
 * The first run after `after` (both in ms since 1970), by the very function that BullMQ goes by; undefined when
 * there is none. Throws for what is no cron expression or no time zone.
 */
export function nextRun(cron: string, timeZone: string, after: number): number | undefined {
  return defaultRepeatStrategy(after, { pattern: cron, tz: timeZone }) as number | undefined
}

/** The id of the task that the run due at `dueAt` (ms since 1970) submits, however often that is tried. */
export function scheduledTaskId(scheduleId: string, dueAt: number): string {
  return `${scheduleId}-${dueAt}`
}

/** As the HTTP API shows it. `timing` and `task` can be put again as they are. */
export function viewSchedule({ id, timing, task, createdAt, updatedAt, nextRunAt, lastTaskId }: Schedule) {
  return {
    id,
    ...timing,
    task: Object.fromEntries(Object.entries(task).filter(([, value]) => value !== null)),
    createdAt: new Date(createdAt).toISOString(),
    updatedAt: new Date(updatedAt).toISOString(),
    nextRunAt: new Date(nextRunAt).toISOString(),
    lastTaskId,
    links: { self: `/v1/schedules/${id}` },
  }
}

import { describe, expect, test } from '@jest/globals'
import countdown from '../../worker/tasks/countdown.ts'
import { runHandler } from './handler-run.ts'

describe('countdown', () => {
  test('reports each step and returns their number', async () => {
    const run = runHandler(countdown, { intervalMs: 0 })
    expect(await run.result).toEqual({ steps: 10 })
    expect(run.progress.map(({ percent }) => percent)).toEqual([10, 20, 30, 40, 50, 60, 70, 80, 90, 100])
    expect(run.progress[2]).toEqual({ percent: 30, message: 'step 3 of 10' })
  })

  test('rounds what does not divide evenly', async () => {
    const run = runHandler(countdown, { steps: 3, intervalMs: 1 })
    await run.result
    expect(run.progress.map(({ percent }) => percent)).toEqual([33, 67, 100])
  })

  test('stops in the middle of a step when it is aborted', async () => {
    const abort = new AbortController()
    const run = runHandler(countdown, { steps: 1, intervalMs: 90_000 }, { signal: abort.signal })
    abort.abort()
    await expect(run.result).rejects.toMatchObject({ name: 'AbortError' })
    expect(run.progress).toEqual([])
  })

  test('has defaults and bounds', () => {
    const accepts = (input: unknown) => countdown.input?.safeParse(input).success
    expect(countdown.input?.parse({})).toEqual({ steps: 10, intervalMs: 1_000 })
    expect(accepts({ steps: 10_000, intervalMs: 3_600_000 })).toBe(true)
    const refused = [{ steps: 0 }, { steps: 10_001 }, { steps: 1.5 }, { steps: '3' }, { intervalMs: -1 }]
    expect([...refused, { intervalMs: 3_600_001 }, { seconds: 1 }, null].some(accepts)).toBe(false)
  })
})

import { afterEach, beforeEach, expect, jest, test } from '@jest/globals'
import { LOCK_MS, LockKeeper } from '../../worker/lock-keeper.ts'
import { TaskRun, TaskRuns } from '../../worker/task-run.ts'
import { silent } from './worker-fixture.ts'

beforeEach(() => void jest.useFakeTimers())
afterEach(() => void jest.useRealTimers())

test('a run whose lock is lost is stopped, but for one that is ending: its lock goes with the job', async () => {
  const runs = new TaskRuns()
  const [kept, lost, ending] = ['kept', 'lost', 'ending'].map(id => new TaskRun(id, `lock of ${id}`)) as [
    TaskRun,
    TaskRun,
    TaskRun,
  ]
  for (const run of [kept, lost, ending]) runs.add(run)
  const asked: string[][] = []
  const keeper = new LockKeeper(
    runs,
    async (ids, tokens) => {
      asked.push([...ids, ...tokens])
      ending.isEnding = true
      return ['lost', 'ending']
    },
    silent,
  )
  keeper.start()
  await jest.advanceTimersByTimeAsync(LOCK_MS / 2 - 1)
  keeper.stop()
  expect(asked).toEqual([['kept', 'lost', 'ending', 'lock of kept', 'lock of lost', 'lock of ending']])
  expect([kept, lost, ending].map(run => run.isStoppedBy('lock-lost'))).toEqual([false, true, false])
})

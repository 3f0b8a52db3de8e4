import { expect, jest, test } from '@jest/globals'
import { validate, version } from 'uuid'
import { newTaskId } from '../../../gateway/routes/new-task-id.ts'

test('ids of new tasks differ and are in order, also while the clock stands or goes back', () => {
  const clock = jest.spyOn(Date, 'now')
  const times = [5_000, 5_000, 4_000, 5_001]
  const ids = times.flatMap(now => {
    clock.mockReturnValue(now)
    return Array.from({ length: 300 }, newTaskId)
  })
  clock.mockRestore()
  expect(ids.every(id => validate(id) && version(id) === 7)).toBe(true)
  expect(new Set(ids).size).toBe(1_200)
  expect([...ids].sort()).toEqual(ids)
  // Random beyond what tells the time and the order.
  expect(new Set(ids.map(id => id.slice(-10))).size).toBe(1_200)
})

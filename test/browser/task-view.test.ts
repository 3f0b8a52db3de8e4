import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { beforeEach, describe, expect, test } from '@jest/globals'
import { projectRoot } from '../../dev/project-root.ts'

const { adopt, applyEvent, viewOf } = await import(
  pathToFileURL(join(projectRoot(), 'web/task-view.js')).href
)

const TIME = '2026-01-02T03:04:05.000Z'

describe("a page's view of a task", () => {
  let view: { task: Record<string, unknown>; lines: { text: string }[]; chunks: string[] }

  beforeEach(() => {
    view = viewOf({
      id: 'a',
      state: 'running',
      progress: { percent: 40 },
      lastEventId: '1000-9',
      startedAt: TIME,
    })
  })

  test('takes messages, but no state, from events that the task has in it already', () => {
    applyEvent(view, event(1, 'queued', { state: 'queued' }))
    applyEvent(view, event(2, 'log', { message: 'read' }))
    applyEvent(view, event(9, 'progress', { percent: 10 }))
    expect(view.task).toMatchObject({ state: 'running', progress: { percent: 40 }, lastEventId: '1000-9' })
    expect(texts()).toEqual(['read'])
  })

  test('keeps the percent of a progress that tells a message alone', () => {
    applyEvent(view, event(10, 'progress', { message: 'sorting' }))
    expect(view.task.progress).toMatchObject({ percent: 40, message: 'sorting' })
  })

  test('compares positions as numbers', () => {
    applyEvent(view, event(10, 'completed', { result: 1 }))
    expect(view.task).toMatchObject({ state: 'completed', result: 1, lastEventId: '1000-10' })
    adopt(view, { state: 'running', lastEventId: '999-70' })
    expect(view.task.state).toBe('completed')
    adopt(view, { state: 'queued', lastEventId: '1001-1' })
    expect(view.task.state).toBe('queued')
  })

  test("takes a handler's own events for messages, whatever their names", () => {
    applyEvent(view, event(10, 'constructor', { data: { rows: 3 } }))
    applyEvent(view, event(11, 'valueof', {}))
    expect(texts()).toEqual(['constructor {"rows":3}', 'valueof '])
    expect(view.task.state).toBe('running')
  })

  test('keeps the latest messages and chunks alone, each of them bounded', () => {
    for (let seq = 10; seq < 1_010; seq++) {
      applyEvent(view, event(seq, 'log', { message: `${seq}`.padEnd(100_000, 'x') }))
      applyEvent(view, event(seq, 'output', { chunk: seq }))
    }
    expect(view.lines).toHaveLength(100)
    expect(view.lines.at(-1)?.text).toMatch(/^1009x+… \(98000 more characters\)$/)
    expect(view.lines.at(-1)?.text.length).toBeLessThan(2_100)
    expect(view.chunks).toHaveLength(20)
    expect(view.chunks.at(-1)).toBe('1009')
  })

  test('begins anew when the log did, and says so', () => {
    applyEvent(view, event(10, 'log', { message: 'old' }))
    applyEvent(view, event(0, 'gap', { reason: 'reset', missed: null }))
    applyEvent(view, { type: 'snapshot', data: { state: 'queued', lastEventId: '2000-1' } })
    applyEvent(view, { id: '2000-2', type: 'log', time: TIME, data: { message: 'new' } })
    expect(texts()).toEqual(['the log began anew', 'new'])
    expect(view.task).toMatchObject({ state: 'queued', lastEventId: '2000-2' })
  })

  test('says how many events are missing', () => {
    applyEvent(view, event(10, 'log', { message: 'old' }))
    applyEvent(view, event(0, 'gap', { reason: 'trimmed', missed: 7 }))
    expect(texts()).toEqual(['old', '7 events are no longer kept'])
  })

  function texts(): string[] {
    return view.lines.map(line => line.text)
  }
})

function event(seq: number, type: string, data: object) {
  return { id: `1000-${seq}`, type, time: TIME, data: { taskId: 'a', attempt: 1, ...data } }
}

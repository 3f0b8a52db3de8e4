// The contract of the event log: what every implementation has to pass.

import { randomUUID } from 'node:crypto'
import { describe, expect, test } from '@jest/globals'
import type { NewEvent } from '../../shared/event.ts'
import { type Position, relate } from '../../shared/event-id.ts'
import type { EventLog, TaskWrite } from '../../shared/event-log.ts'

/** An implementation under test and what a test must be able to do to it from outside. */
export interface LogUnderTest {
  readonly log: EventLog
  /** What is published under a channel's pub/sub name from now on, as it comes; `untilClosed` ends it. */
  listen(channel: string): Promise<{ received: Buffer[]; close(): Promise<void> }>
  /** Milliseconds until a channel's log expires; -1 = never, -2 = there is none. */
  expiresIn(channel: string): Promise<number>
  /** The fields of a task's state. */
  state(taskId: string): Promise<Record<string, string>>
  /** Cuts a channel's log, and with it its task, back to its first events, as a failover to a lagging replica does. */
  goBack(channel: string, keep: number): Promise<void>
  /** Most events that a channel keeps here: a small number. */
  readonly maxEvents: number
}

const text = (data: string, type = 'message'): NewEvent => ({
  type,
  time: 1_700_000_000_000,
  format: 'text',
  data,
})
const json = (value: unknown, type = 'message'): NewEvent => ({
  type,
  time: 1_700_000_000_000,
  format: 'json',
  data: JSON.stringify(value),
})
const running: TaskWrite = { from: ['running'], set: {} }

export function eventLogContract(name: string, setUp: () => LogUnderTest): void {
  describe(`event log contract: ${name}`, () => {
    const fresh = (): string => `test:${randomUUID()}`

    test('numbers events 1, 2, 3 without holes within one epoch, across appends and batches', async () => {
      const { log } = setUp()
      const channel = fresh()
      const first = await log.append(channel, [text('a')])
      const third = await log.append(channel, [text('b'), text('c')])
      expect(first.seq).toBe(1)
      expect(first.epoch).toBeGreaterThan(1_500_000_000_000)
      expect(third).toEqual({ epoch: first.epoch, seq: 2 })
      const { events, head } = await log.readPage(channel, 'earliest')
      expect(events.map(event => event.seq)).toEqual([1, 2, 3])
      expect(head).toEqual({ epoch: first.epoch, seq: 3 })
    })

    test('keeps type, time, format and every byte of the data', async () => {
      const { log } = setUp()
      const channel = fresh()
      const hostile = 'line\nline\r\nNUL\u0000 ü € 𝄞 "quotes" \u2028 {"a":1}'
      await log.append(channel, [text(hostile, 'note.v1'), json({ text: hostile }, 'x')])
      const [first, second] = (await log.readPage(channel, 'earliest')).events
      expect(first).toMatchObject({ type: 'note.v1', time: 1_700_000_000_000, format: 'text' })
      expect(first?.data.toString()).toBe(hostile)
      expect(second?.format).toBe('json')
      expect(JSON.parse(second?.data.toString() ?? '')).toEqual({ text: hostile })
    })

    test('gives concurrent appends distinct, contiguous positions and keeps a batch together', async () => {
      const { log } = setUp()
      const channel = fresh()
      const batches = await Promise.all(
        Array.from({ length: 20 }, async (_, i) => {
          const first = await log.append(channel, [text(`${i}.0`), text(`${i}.1`)])
          return { i, first }
        }),
      )
      const { events } = await log.readPage(channel, 'earliest')
      expect(events.map(event => event.seq)).toEqual(Array.from({ length: 40 }, (_, i) => i + 1))
      for (const { i, first } of batches) {
        expect(events[first.seq - 1]?.data.toString()).toBe(`${i}.0`)
        expect(events[first.seq]?.data.toString()).toBe(`${i}.1`)
      }
    })

    test('pages through a log in order, without overlap, up to its head', async () => {
      const { log } = setUp()
      const channel = fresh()
      await log.append(
        channel,
        Array.from({ length: 45 }, (_, i) => text(String(i))),
      )
      const seen: number[] = []
      let after: Position | 'earliest' = 'earliest'
      for (;;) {
        const page = await log.readPage(channel, after, { maxEvents: 10, maxBytes: 1_000_000 })
        expect(page.events.length).toBeLessThanOrEqual(10)
        const last = page.events.at(-1)
        if (!last) break
        seen.push(...page.events.map(event => event.seq))
        after = last
      }
      expect(seen).toEqual(Array.from({ length: 45 }, (_, i) => i + 1))
    })

    test('ends a page once it holds enough bytes, and always makes progress', async () => {
      const { log } = setUp()
      const channel = fresh()
      await log.append(
        channel,
        Array.from({ length: 10 }, () => text('x'.repeat(1_000))),
      )
      const page = await log.readPage(channel, 'earliest', { maxEvents: 100, maxBytes: 2_500 })
      expect(page.events).toHaveLength(3)
      const tiny = await log.readPage(channel, 'earliest', { maxEvents: 100, maxBytes: 1 })
      expect(tiny.events).toHaveLength(1)
    })

    test('answers an empty page and no head for a channel that has no log', async () => {
      const { log } = setUp()
      const channel = fresh()
      expect(await log.readPage(channel, 'earliest')).toEqual({ events: [], head: null })
      expect(await log.readPage(channel, { epoch: 5, seq: 5 })).toEqual({ events: [], head: null })
      expect(await log.heads([channel])).toEqual([null])
    })

    test('answers heads in the order asked', async () => {
      const { log } = setUp()
      const [a, b, none] = [fresh(), fresh(), fresh()]
      const atA = await log.append(a, [text('1')])
      const atB = await log.append(b, [text('1'), text('2')])
      expect(await log.heads([b, none, a])).toEqual([{ epoch: atB.epoch, seq: 2 }, null, atA])
    })

    test('trims the oldest events beyond the limit and goes on counting', async () => {
      const { log, maxEvents } = setUp()
      const channel = fresh()
      for (let i = 0; i < 3; i++)
        await log.append(
          channel,
          Array.from({ length: maxEvents }, () => text('x')),
        )
      const { events, head } = await log.readPage(channel, 'earliest')
      expect(head?.seq).toBe(3 * maxEvents)
      expect(events.at(-1)?.seq).toBe(3 * maxEvents)
      expect(events).toHaveLength(maxEvents)
    })

    test('renews the expiry of a channel with each append', async () => {
      const { log, expiresIn } = setUp()
      const channel = fresh()
      await log.append(channel, [text('x')])
      expect(await expiresIn(channel)).toBeGreaterThan(0)
    })

    test('publishes each append once, in order, as it stands in the log', async () => {
      const { log, listen } = setUp()
      const { parsePublishedEvents } = await import('../../shared/published-events.ts')
      const channel = fresh()
      const listener = await listen(channel)
      await log.append(channel, [text('one\ntwo', 'a'), json({ n: 2 }, 'b')])
      await log.append(channel, [text('', 'c')])
      await listener.close()
      const published = listener.received.flatMap(message => parsePublishedEvents(message))
      const { events } = await log.readPage(channel, 'earliest')
      expect(published).toEqual(events)
    })

    test('creates a task with its first event, once', async () => {
      const { log, state } = setUp()
      const id = randomUUID()
      const create: TaskWrite = { from: [], set: { id, state: 'queued', run: 0 } }
      expect(await log.appendToTask(id, [json({}, 'queued')], create)).toMatchObject({
        outcome: 'ok',
        first: { seq: 1 },
      })
      expect(await log.appendToTask(id, [json({}, 'queued')], create)).toEqual({ outcome: 'exists' })
      expect((await log.readPage(`task:${id}`, 'earliest')).events).toHaveLength(1)
      expect(await state(id)).toMatchObject({ id, state: 'queued', run: '0' })
    })

    test('refuses a write to an unknown task, and one from a state that it may not start from', async () => {
      const { log, state } = setUp()
      const id = await newTask(log, { state: 'completed' })
      expect(await log.appendToTask(randomUUID(), [json({}, 'log')], running)).toEqual({ outcome: 'unknown' })
      const refused = await log.appendToTask(id, [json({}, 'log')], { ...running, set: { state: 'running' } })
      expect(refused).toEqual({ outcome: 'refused', state: 'completed' })
      expect((await state(id)).state).toBe('completed')
      expect((await log.readPage(`task:${id}`, 'earliest')).events).toHaveLength(1)
    })

    test('does an append only once that has a key, and refuses another one under it', async () => {
      const { log } = setUp()
      const [channel, other] = [fresh(), fresh()]
      const once = { key: 'k', fingerprint: 'first', keptMs: 60_000 }
      const done = await log.appendOnce(channel, [text('a'), text('b')], once)
      expect(done).toEqual({ outcome: 'ok', first: { epoch: expect.any(Number), seq: 1 } })
      await log.append(channel, [text('c')])
      const { first } = done as { first: Position }
      expect(await log.appendOnce(channel, [text('a'), text('b')], once)).toEqual({
        outcome: 'repeated',
        first,
      })
      const reused = { ...once, fingerprint: 'second' }
      expect(await log.appendOnce(channel, [text('d')], reused)).toEqual({ outcome: 'reused' })
      expect((await log.readPage(channel, 'earliest')).events).toHaveLength(3)
      expect(await log.appendOnce(other, [text('d')], reused)).toMatchObject({ outcome: 'ok' })
      const next = await log.appendOnce(channel, [text('d')], { ...reused, key: 'l' })
      expect(next).toEqual({ outcome: 'ok', first: { epoch: first.epoch, seq: 4 } })
    })

    test('fences the writes of an older run', async () => {
      const { log } = setUp()
      const id = await newTask(log, { state: 'running', run: 2 })
      expect(await log.appendToTask(id, [json({}, 'log')], { ...running, run: 1 })).toEqual({
        outcome: 'fenced',
        state: 'running',
      })
      expect(await log.appendToTask(id, [json({}, 'log')], { ...running, run: 2 })).toMatchObject({
        outcome: 'ok',
      })
    })

    test('answers a repeated write without appending it again', async () => {
      const { log } = setUp()
      const id = await newTask(log, { state: 'running', run: 1 })
      const write = { ...running, run: 1, write: 1 }
      const first = await log.appendToTask(id, [json({}, 'output')], write)
      expect(first).toMatchObject({ outcome: 'ok', first: { seq: 2 } })
      expect(await log.appendToTask(id, [json({}, 'output')], write)).toMatchObject({ outcome: 'repeated' })
      expect((await log.readPage(`task:${id}`, 'earliest')).events).toHaveLength(2)
    })

    test('repeats a terminal write without refusing it', async () => {
      const { log } = setUp()
      const id = await newTask(log, { state: 'running', run: 1 })
      const end: TaskWrite = {
        from: ['running'],
        run: 1,
        write: 7,
        set: { state: 'completed' },
        expireMs: 60_000,
      }
      expect(await log.appendToTask(id, [json({}, 'completed')], end)).toMatchObject({ outcome: 'ok' })
      expect(await log.appendToTask(id, [json({}, 'completed')], end)).toMatchObject({ outcome: 'repeated' })
    })

    test('lets an ended task and its log expire, and an open one stay', async () => {
      const { log, expiresIn } = setUp()
      const id = await newTask(log, { state: 'running' })
      expect(await expiresIn(`task:${id}`)).toBe(-1)
      await log.appendToTask(id, [json({}, 'completed')], {
        ...running,
        set: { state: 'completed' },
        expireMs: 60_000,
      })
      expect(await expiresIn(`task:${id}`)).toBeGreaterThan(0)
    })

    test('sets and deletes fields, and tells of a cancellation', async () => {
      const { log, state } = setUp()
      const id = await newTask(log, { state: 'running', cancel: '1', runAt: 5 })
      const answer = await log.appendToTask(id, [json({}, 'log')], {
        ...running,
        set: { runAt: null, progress: '{}' },
      })
      expect(answer).toMatchObject({ outcome: 'ok', cancelRequested: true })
      const fields = await state(id)
      expect(fields.runAt).toBeUndefined()
      expect(fields.progress).toBe('{}')
    })

    test('changes nothing for a write that gives way to a cancellation, and does the others', async () => {
      const { log, state } = setUp()
      const id = await newTask(log, { state: 'running', run: 1, cancel: '1' })
      const end = { ...running, run: 1, set: { state: 'completed' } }
      const answer = await log.appendToTask(id, [json({}, 'completed')], { ...end, unlessCancelled: true })
      expect(answer).toEqual({ outcome: 'cancelling' })
      expect((await state(id)).state).toBe('running')
      expect((await log.readPage(`task:${id}`, 'earliest')).events).toHaveLength(1)
      expect(await log.appendToTask(id, [json({}, 'completed')], end)).toMatchObject({ outcome: 'ok' })
    })

    test('changes nothing for a start that comes too late', async () => {
      const { log } = setUp()
      const id = await newTask(log, { state: 'queued', expiresAt: 1_000 })
      const start = (now: number): TaskWrite => ({ from: ['queued'], unlessExpired: now, set: {} })
      expect(await log.appendToTask(id, [json({}, 'started')], start(1_000))).toEqual({
        outcome: 'refused',
        state: 'queued',
      })
      expect(await log.appendToTask(id, [json({}, 'started')], start(999))).toMatchObject({ outcome: 'ok' })
    })

    test('answers the state as it is after the write, where that is asked for', async () => {
      const { log, state } = setUp()
      const id = await newTask(log, { state: 'queued', run: 0, input: '{"n":1}' })
      const start = { from: ['queued'], set: { run: 1, priority: null, runToken: 'ä"\\\u0000' } }
      const answer = await log.appendToTask(id, [json({}, 'started')], { ...start, answersFields: true })
      expect(answer).toMatchObject({ outcome: 'ok', fields: await state(id) })
      expect(answer).toMatchObject({ fields: { run: '1', input: '{"n":1}', runToken: start.set.runToken } })
      expect(await log.appendToTask(id, [json({}, 'output')], start)).not.toHaveProperty('fields')
    })

    test('goes on in a new epoch when its writer knows that it has gone back', async () => {
      const { log, goBack } = setUp()
      const channel = fresh()
      const first = await log.append(channel, [text('0'), text('1'), text('2')])
      await goBack(channel, 2)
      const next = await log.append(channel, [text('new'), text('newer')])
      expect(next).toEqual({ epoch: expect.any(Number), seq: 1 })
      expect(next.epoch).toBeGreaterThan(first.epoch)
      expect(await log.append(channel, [text('newest')])).toEqual({ epoch: next.epoch, seq: 3 })
      await goBack(channel, 0)
      const last = await log.append(channel, [text('again')])
      expect(last.seq).toBe(1)
      expect(last.epoch).toBeGreaterThan(next.epoch)
      const id = await newTask(log, { state: 'running' })
      await log.appendToTask(id, [json({}, 'log')], running)
      await goBack(`task:${id}`, 1)
      const answer = await log.appendToTask(id, [json({}, 'log')], running)
      expect(answer).toMatchObject({ outcome: 'ok' })
      const { events } = await log.readPage(`task:${id}`, 'earliest')
      expect(new Set(events.map(({ epoch, seq }) => `${epoch}-${seq}`)).size).toBe(2)
    })

    test('goes on in a new epoch once it is known to have gone back, and only then', async () => {
      const { log, goBack } = setUp()
      const channel = fresh()
      const first = await log.append(
        channel,
        Array.from({ length: 5 }, (_, i) => text(String(i))),
      )
      const known = { epoch: first.epoch, seq: 5 }
      await log.assertReached(channel, known)
      expect((await log.readPage(channel, known)).head).toEqual(known)
      await goBack(channel, 2)
      await log.assertReached(channel, known)
      await log.assertReached(channel, known)
      const { head } = await log.readPage(channel, known)
      expect(head).toEqual({ epoch: expect.any(Number), seq: 0 })
      expect(head?.epoch).toBeGreaterThan(first.epoch)
      expect((await log.readPage(channel, 'earliest')).head).toEqual(head)
      expect(await log.heads([channel])).toEqual([head])
      const next = await log.append(channel, [text('new')])
      expect(next).toEqual({ epoch: head?.epoch, seq: 1 })
      const { events } = await log.readPage(channel, 'earliest')
      expect(events.map(event => event.data.toString())).toEqual(['0', '1', 'new'])
      expect(relate(events[1]!, events[2]!)).toBe('hole')
    })
  })

  async function newTask(log: EventLog, fields: Record<string, string | number>): Promise<string> {
    const id = randomUUID()
    await log.appendToTask(id, [json({}, 'queued')], { from: [], set: { id, ...fields } })
    return id
  }
}

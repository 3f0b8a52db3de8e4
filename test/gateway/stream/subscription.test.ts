import { randomUUID } from 'node:crypto'
import { describe, expect, test } from '@jest/globals'
import { singleCursor, vectorCursor } from '../../../gateway/stream/cursor.ts'
import type { NewEvent } from '../../../shared/event.ts'
import { formatPosition, type Position } from '../../../shared/event-id.ts'
import { MemoryEventLog } from '../../support/memory-event-log.ts'
import { type AskedStream, MemoryGateway, MemorySocket } from '../../support/memory-gateway.ts'
import { until } from '../../support/until.ts'

const MAX_BUFFERED_BYTES = 1024 * 1024

const log = new MemoryEventLog({
  retention: { maxEvents: 10_000, ttlMs: 60_000 },
  onPublish: (channel, message) => gateway.publish(channel, message),
})
const gateway = new MemoryGateway(log, log)

const event = (data: string, type = 'n'): NewEvent => ({ type, time: Date.now(), format: 'text', data })

function request(channels: string[], how: Partial<AskedStream['viewer']> = {}): AskedStream {
  const cursor = channels.length === 1 ? singleCursor(channels[0]!) : vectorCursor(channels)
  const viewer = { cursor, envelope: channels.length > 1, named: true, types: null, ...how }
  return { viewer, cursor: null, origin: 'earliest', expiresAt: null }
}

/** Opens a stream on a socket that takes nothing, until it is told to. */
async function openStalled(
  asked: AskedStream,
): Promise<{ socket: MemorySocket; bytes: () => number; most: () => number }> {
  let taken = 0
  let most = 0
  const socket = new MemorySocket(bytes => {
    taken += bytes.length
  })
  const write = socket.write.bind(socket)
  socket.write = ((bytes: Buffer) => {
    const accepted = write(bytes)
    most = Math.max(most, socket.writableLength)
    return accepted
  }) as typeof socket.write
  socket.stall()
  await gateway.open(asked, socket)
  return { socket, bytes: () => taken, most: () => most }
}

/** Opens a stream on a socket that takes everything. */
async function openReading(asked: AskedStream): Promise<{ socket: MemorySocket; text: () => string }> {
  let text = ''
  const socket = new MemorySocket(bytes => {
    text += bytes.toString()
  })
  await gateway.open(asked, socket)
  return { socket, text: () => text }
}

test.each(['before pub/sub brings it', 'that pub/sub loses'])(
  'a live viewer gets an event that another viewer of the channel reads from the log %s',
  async which => {
    const channel = `race-${which}`
    // What memory does not hold, so that the second viewer has to read.
    await log.append(channel, [event('old')])
    const first = await openReading({ ...request([channel]), origin: 'latest' })
    await gateway.settle()
    await log.append(channel, [event('one')])
    await gateway.settle()
    await until('the first viewer is live', () => first.text().includes('data: one'))
    await log.append(channel, [event('two')])
    if (which === 'that pub/sub loses') gateway.subscriber.inbound.length = 0
    const second = await openReading(request([channel]))
    await until('the second viewer has read it', () => second.text().includes('data: two'))
    await gateway.settle()
    await until('the first viewer has it too', () => first.text().includes('data: two'))
  },
)

test('a viewer that begins with the earliest gets what stands before a new epoch', async () => {
  const channel = 'two epochs'
  const known = await log.append(channel, [event('one'), event('two'), event('three')])
  const first = await openReading({ ...request([channel]), origin: 'latest' })
  await gateway.settle()
  log.goBack(channel, 2)
  await log.assertReached(channel, { ...known, seq: 3 })
  // Memory begins with the new epoch, and with its event number 1.
  await log.append(channel, [event('four')])
  await gateway.settle()
  await until('the first viewer has it', () => first.text().includes('data: four'))
  const second = await openReading(request([channel]))
  await until('the second viewer has it', () => second.text().includes('data: four'))
  expect(second.text().match(/(?<=^data: )\w+|"reason":"\w+"/gm)).toEqual([
    'one',
    'two',
    '"reason":"reset"',
    'four',
  ])
})

test('a viewer is told once of a log that went back, although memory still holds what was lost', async () => {
  const channel = 'forgetful'
  const known = await log.append(channel, [event('one'), event('two')])
  const viewer = await openReading(request([channel]))
  await gateway.settle()
  await log.append(channel, [event('three')])
  await gateway.settle()
  await until('the viewer is live', () => viewer.text().includes('data: three'))
  log.goBack(channel, 1)
  // Another gateway was the first to know.
  await log.assertReached(channel, { ...known, seq: 3 })
  gateway.subscriber.reconnect()
  gateway.subscriber.drop()
  gateway.subscriber.reconnect()
  await gateway.settle()
  await log.append(channel, [event('four')])
  await gateway.settle()
  await until('it has what came after', () => viewer.text().includes('data: four'))
  expect(viewer.text().match(/(?<=^data: )\w+|"reason":"\w+"/gm)).toEqual([
    'one',
    'two',
    'three',
    '"reason":"reset"',
    'one',
    '"reason":"reset"',
    'four',
  ])
})

test('a cursor of several channels stays before a hole until it is told', async () => {
  const channels = ['told', 'untold']
  const asked = request(channels)
  const positions: Position[] = []
  for (const channel of channels) positions.push(await log.append(channel, [event('one'), event('two')]))
  const cursor = asked.viewer.cursor.format(positions)
  log.goBack('untold', 1)
  await log.assertReached('untold', { ...positions[1]!, seq: 2 })
  await log.append('untold', [event('other')])
  const { text } = await openReading({ ...asked, cursor })
  await gateway.settle()
  await until('both have come', () => text().includes('"other"') && text().includes('"two"'))
  const cursors = text()
    .split('\n\n')
    .map(frame => ({
      id: /^id: (.*)$/m.exec(frame)?.[1],
      isGap: frame.includes('event: gap'),
    }))
    .filter(frame => frame.id)
  const gap = cursors.findIndex(({ isGap }) => isGap)
  for (const { id } of cursors.slice(0, gap))
    expect(asked.viewer.cursor.parse(id ?? '')?.[1]).toEqual(positions[1])
  expect(gap).toBeGreaterThan(0)
})

describe('a stream of a task', () => {
  const taskEvent = (type: string): NewEvent => ({ type, time: 1, format: 'json', data: '{}' })

  async function runningTask(): Promise<{ id: string; asked: AskedStream }> {
    const id = randomUUID()
    const fixed = JSON.stringify({ id, createdAt: 1 })
    const write = { from: [], set: { fixed, state: 'running' } }
    await log.appendToTask(id, [taskEvent('started')], write)
    return { id, asked: request([`task:${id}`]) }
  }
  const complete = (id: string) =>
    log.appendToTask(id, [taskEvent('completed')], { from: ['running'], set: { state: 'completed' } })

  test('that begins at its end does not wait for more when the task ends in that moment', async () => {
    const { id, asked } = await runningTask()
    const { socket } = await openReading({ ...asked, origin: 'latest' })
    await complete(id)
    await gateway.settle()
    await until('the stream has ended', () => socket.destroyed)
  })

  test('ends although the log expires before the end was read from it', async () => {
    const { id, asked } = await runningTask()
    await complete(id)
    const { socket } = await openReading(asked)
    log.logs.delete(`task:${id}`)
    await gateway.settle()
    await until('the stream has ended', () => socket.destroyed)
  })

  test('has its end although pub/sub lost it', async () => {
    const { id, asked } = await runningTask()
    await openReading(asked)
    await gateway.settle()
    await complete(id)
    gateway.subscriber.inbound.length = 0
    const cursor = formatPosition(log.logs.get(`task:${id}`)!.events[0]!)
    const { socket, text } = await openReading({ ...asked, cursor })
    await until('the stream has ended', () => socket.destroyed)
    expect(text()).toMatch(/event: completed/)
  })

  test('ends when the task itself was lost', async () => {
    const { id, asked } = await runningTask()
    const { socket, text } = await openReading(asked)
    await gateway.settle()
    log.logs.delete(`task:${id}`)
    log.tasks.delete(id)
    gateway.subscriber.reconnect()
    gateway.subscriber.drop()
    gateway.subscriber.reconnect()
    await gateway.settle()
    await until('the stream has ended', () => socket.destroyed)
    expect(text()).toMatch(/event: gap\ndata: \{.*"reason":"reset"/)
  })
})

const CONTROLS = '\u0001'.repeat(60_000)

test.each([
  ['of many channels', 20, {}],
  ['of events that grow in their envelopes', 1, { named: false }],
  ['of some types', 1, { types: new Set(['n']) }],
])('a stalled viewer %s costs a bounded amount, and has everything once it reads', async (_, count, how) => {
  const channels = Array.from({ length: count }, (__, i) => `c${i}-${Math.random()}`)
  const early = await openStalled(request(channels, how))
  await gateway.settle()
  for (const channel of channels)
    await log.append(
      channel,
      Array.from({ length: 12 }, () => event(CONTROLS)),
    )
  await gateway.settle()
  const late = await openStalled(request(channels, how))
  await gateway.settle()
  for (const { socket, most, bytes } of [early, late]) {
    expect(socket.writableLength).toBeGreaterThan(10_000)
    socket.resumeTaking()
    await until('everything has come', () => bytes() > channels.length * 12 * CONTROLS.length)
    expect(most()).toBeLessThan(MAX_BUFFERED_BYTES)
    socket.destroy()
  }
})

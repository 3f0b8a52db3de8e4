import { expect, test } from '@jest/globals'
import { singleCursor } from '../../../gateway/stream/cursor.ts'
import type { Position } from '../../../shared/event-id.ts'
import { MemoryEventLog } from '../../support/memory-event-log.ts'
import { MemoryGateway, MemorySocket } from '../../support/memory-gateway.ts'
import { until } from '../../support/until.ts'

const CHANNEL = 'c'

/** Its heads are told when the test lets them. */
class HesitantLog extends MemoryEventLog {
  asked = 0
  readonly waiting: (() => void)[] = []

  override async heads(channels: readonly string[]): Promise<(Position | null)[]> {
    const answer = await super.heads(channels)
    this.asked++
    await new Promise<void>(resolve => this.waiting.push(resolve))
    return answer
  }
}

/** A gateway with one live viewer. */
async function watched() {
  const log: HesitantLog = new HesitantLog({
    retention: { maxEvents: 100, ttlMs: 60_000 },
    onPublish: (channel, message) => gateway.publish(channel, message),
  })
  const gateway = new MemoryGateway(log, log)
  let text = ''
  const socket = new MemorySocket(bytes => {
    text += bytes.toString()
  })
  const append = (data: string) => log.append(CHANNEL, [{ type: 'n', time: 1, format: 'text', data }])
  const seen = (data: string) => until(`${data} is seen`, () => text.includes(`data: ${data}\n`))
  await append('1')
  gateway.subscriber.reconnect()
  const viewer = { cursor: singleCursor(CHANNEL), envelope: false, named: true, types: null }
  await gateway.open({ viewer, cursor: null, origin: 'earliest', expiresAt: null }, socket)
  await gateway.settle()
  await seen('1')
  return { gateway, log, append, seen, written: () => text }
}

test('heads are compared by one comparison at a time, and once more for what happened meanwhile', async () => {
  const { gateway, log, append, seen } = await watched()
  for (let outage = 0; outage < 5; outage++) {
    gateway.subscriber.drop()
    gateway.subscriber.reconnect()
    await gateway.settle()
  }
  await until('a comparison is under way', () => log.waiting.length > 0)
  expect(log.asked).toBe(1)
  // Lost on the way, after the comparison has looked.
  await append('2')
  gateway.subscriber.inbound.length = 0
  log.waiting.shift()?.()
  await until('another one is under way', () => log.waiting.length > 0)
  expect(log.asked).toBe(2)
  log.waiting.shift()?.()
  await seen('2')
})

test('a comparison of heads leaves viewers alone whose events come in meanwhile', async () => {
  const { gateway, log, append, seen } = await watched()
  await append('2')
  gateway.subscriber.drop()
  gateway.subscriber.reconnect()
  await gateway.settle()
  await until('a comparison is under way', () => log.waiting.length > 0)
  await append('3')
  await append('4')
  await gateway.settle()
  await seen('4')
  log.waiting.shift()?.()
  await gateway.settle()
  const metrics = await gateway.registry.metrics()
  expect(metrics).not.toMatch(/catchups_total\{reason="resubscribe"\}/)
})

test('a viewer has what its own gateway appended, before pub/sub brings it and once', async () => {
  const { gateway, append, seen, written } = await watched()
  const event = { type: 'n', time: 1, format: 'text', data: '2' } as const
  const first = await append(event.data)
  const [message] = gateway.subscriber.inbound.splice(0)
  gateway.streams.appended(CHANNEL, [event], first)
  await seen('2')
  message!.deliver()
  await append('3')
  await gateway.settle()
  await seen('3')
  expect(written().match(/^data: .*/gm)).toEqual(['data: 1', 'data: 2', 'data: 3'])
})

test('what a gateway appended after something that it has not heard of comes in its order', async () => {
  const { gateway, append, seen, written } = await watched()
  await append('2')
  const event = { type: 'n', time: 1, format: 'text', data: '3' } as const
  gateway.streams.appended(CHANNEL, [event], await append(event.data))
  await gateway.settle()
  await seen('3')
  expect(written().match(/^data: .*/gm)).toEqual(['data: 1', 'data: 2', 'data: 3'])
})

import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, test } from '@jest/globals'
import type { Redis } from 'ioredis'
import { RedisSubscriber } from '../../../gateway/stream/redis-subscriber.ts'
import { createLogger } from '../../../shared/log.ts'
import { MemorySubscriber } from '../../support/memory-gateway.ts'
import { until } from '../../support/until.ts'

function subscriberOn(connection: MemorySubscriber): RedisSubscriber {
  const events = { onMessage: () => undefined, onResubscribed: () => undefined }
  return new RedisSubscriber(connection as unknown as Redis, createLogger('test', 'silent'), events)
}

/** Whether a promise is resolved by now. */
async function isDone(promise: Promise<void>): Promise<boolean> {
  let done = false
  void promise.then(() => {
    done = true
  })
  await turn()
  return done
}

describe('a subscription is acknowledged', () => {
  test('not before Redis did, although it was given up and wanted again at once', async () => {
    const connection = new MemorySubscriber()
    const subscriber = subscriberOn(connection)
    void subscriber.subscribe('a')
    await turn()
    subscriber.unsubscribe('a')
    const again = subscriber.subscribe('a')
    expect(await isDone(again)).toBe(false)
    connection.inbound.shift()?.deliver()
    expect(await isDone(again)).toBe(true)
    expect(connection.topics).toEqual(new Set(['a']))
  })

  test('by its own acknowledgement, not by that of an earlier one of the same name', async () => {
    const connection = new MemorySubscriber()
    const subscriber = subscriberOn(connection)
    void subscriber.subscribe('a')
    await turn()
    subscriber.unsubscribe('a')
    await turn()
    const again = subscriber.subscribe('a')
    await turn()
    const [subscribed, unsubscribed, resubscribed] = connection.inbound
    subscribed?.deliver()
    unsubscribed?.deliver()
    expect(await isDone(again)).toBe(false)
    resubscribed?.deliver()
    expect(await isDone(again)).toBe(true)
  })

  test('on a new connection where Redis refused it on an old one', async () => {
    const connection = new MemorySubscriber()
    const subscriber = subscriberOn(connection)
    const { subscribe } = connection
    connection.subscribe = () => Promise.reject(new Error('BUSY Redis is busy running a script'))
    connection.disconnect = () => {
      connection.subscribe = subscribe
      connection.drop()
      connection.reconnect()
    }
    const acknowledged = subscriber.subscribe('a')
    await until('it is asked for again', () => connection.topics.has('a'))
    connection.inbound.shift()?.deliver()
    await acknowledged
  })
})

test('any number of subscriptions is given up at once', async () => {
  const connection = new MemorySubscriber()
  const subscriber = subscriberOn(connection)
  const topics = Array.from({ length: 200_000 }, (_, i) => `t${i}`)
  for (const topic of topics) void subscriber.subscribe(topic)
  await turn()
  for (const topic of topics) subscriber.unsubscribe(topic)
  await turn()
  expect(connection.topics.size).toBe(0)
})

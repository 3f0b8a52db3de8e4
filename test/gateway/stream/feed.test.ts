import { randomUUID } from 'node:crypto'
import { describe, expect, test } from '@jest/globals'
import { Feed } from '../../../gateway/stream/feed.ts'
import type { Subscription } from '../../../gateway/stream/subscription.ts'
import { TailBudget } from '../../../gateway/stream/tail.ts'
import { MemoryEventLog } from '../../support/memory-event-log.ts'
import { until } from '../../support/until.ts'

const log = new MemoryEventLog({ retention: { maxEvents: 100, ttlMs: 60_000 } })

function watchedFeed(view = log) {
  const channel = randomUUID()
  const budget = new TailBudget(1e9)
  const feed = new Feed(channel, {
    attached: Promise.resolve(),
    log: view,
    gate: read => read(),
    budget,
    onBehind: () => undefined,
  })
  const viewer = {} as Subscription
  feed.followers.add(viewer)
  const append = (...texts: string[]) =>
    log.append(
      channel,
      texts.map(data => ({ type: 'n', time: 1, format: 'text' as const, data })),
    )
  return { channel, feed, budget, viewer, append }
}

describe('feed', () => {
  test('reads a page once for all who ask for it at the same time', async () => {
    const { feed, append } = watchedFeed()
    await append('1', '2')
    const [one, other] = await Promise.all([feed.read('earliest'), feed.read('earliest')])
    expect(one).toBe(other)
    expect(await feed.read('earliest')).not.toBe(one)
  })

  test('does not share a page that was read before the log came to where somebody stands', async () => {
    let answer = () => undefined
    const held = new Promise<void>(resolve => {
      answer = () => void resolve()
    })
    // What is asked is read at once and heard of later.
    const slow = log.connection(async operation => {
      const read = operation()
      await held
      return read
    })
    const { feed, append } = watchedFeed(slow)
    const { epoch } = await append('1', '2')
    const early = feed.read({ epoch, seq: 1 })
    await append('3')
    const late = feed.read({ epoch, seq: 3 })
    answer()
    expect((await early).head).toEqual({ epoch, seq: 2 })
    expect((await late).head).toEqual({ epoch, seq: 3 })
  })

  test('that was given up during a read takes nothing of the budget', async () => {
    const { feed, budget, viewer, append } = watchedFeed()
    await append('1', '2')
    const reading = feed.read('earliest')
    feed.followers.delete(viewer)
    feed.tail.clear()
    await reading
    expect(budget.usedBytes).toBe(0)
  })

  test('knows that nothing is retained before the first event of an epoch', async () => {
    const { feed, append } = watchedFeed()
    const { epoch } = await append('1')
    expect(await feed.contains({ epoch, seq: 1 })).toBe(true)
    expect(await feed.contains({ epoch, seq: 2 })).toBe(false)
    expect(await feed.contains({ epoch, seq: 0 })).toBe(false)
  })

  test('holds on to gathered chunks no longer than for the viewers of one moment', async () => {
    const { feed, append } = watchedFeed()
    feed.followers.add({} as Subscription)
    const { epoch } = await append('1', '2')
    await feed.read('earliest')
    const start = { epoch, seq: 0 }
    const gathered = feed.gatherAfter(start)
    expect(gathered?.count).toBe(2)
    expect(feed.gatherAfter(start)).toBe(gathered)
    await until('it is let go', () => feed.gatherAfter(start) !== gathered)
  })

  test('keeps what it has heard for several viewers, and for one until it is live', () => {
    const { feed, viewer } = watchedFeed()
    const heard = { epoch: 1, seq: 1, type: 'n', time: 1, format: 'text' as const, data: Buffer.from('1') }
    const second = {} as Subscription
    feed.receive([heard])
    viewer.live = false
    feed.letGoOfWritten()
    expect(feed.tail.last?.seq).toBe(1)
    viewer.live = true
    feed.followers.add(second)
    feed.letGoOfWritten()
    expect(feed.tail.last?.seq).toBe(1)
    feed.followers.delete(second)
    feed.letGoOfWritten()
    expect(feed.tail.last).toBeUndefined()
  })
})

import { randomUUID } from 'node:crypto'
import { describe, expect, test } from '@jest/globals'
import { Feed } from '../../../gateway/stream/feed.ts'
import type { Subscription } from '../../../gateway/stream/subscription.ts'
import { TailBudget } from '../../../gateway/stream/tail.ts'
import { MemoryEventLog } from '../../support/memory-event-log.ts'
import { until } from '../../support/until.ts'

const log = new MemoryEventLog({ retention: { maxEvents: 100, ttlMs: 60_000 } })

function watchedFeed() {
  const channel = randomUUID()
  const budget = new TailBudget(1e9)
  const feed = new Feed(channel, {
    attached: Promise.resolve(),
    log,
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
})

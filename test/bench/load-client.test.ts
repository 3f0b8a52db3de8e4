/** The benchmark's own load client, as real processes, against servers that do and don't deliver as they should. */
import { afterEach, describe, expect, test } from '@jest/globals'
import { CommandProcess } from '../../bench/command-process.ts'
import { deliver } from '../../bench/deliver.ts'
import type { PublisherCommands } from '../../bench/load/publisher.ts'
import type { ViewerCommands } from '../../bench/load/viewers.ts'
import { outcomeOf } from '../../bench/report/outcome.ts'
import { type DeliveryStage, script } from '../../bench/stage.ts'
import type { Run, Workload } from '../../bench/workload.ts'
import { type Delivery, startFaultyServer } from './faulty-server.ts'

const VIEWERS = 20
const EVENTS = 50
const MIDDLE = 30

const ended: (() => Promise<void>)[] = []

afterEach(async () => {
  for (const end of ended.splice(0)) await end()
})

/** Publishes 50 events to 20 viewers, after a warm-up of 50. */
async function runAgainst(delivery: Delivery): Promise<Run> {
  const server = await startFaultyServer((frame, event, viewer) => delivery(frame, event - EVENTS, viewer))
  const viewers = new CommandProcess<ViewerCommands>('viewers', script('load/viewers.js'))
  const publisher = new CommandProcess<PublisherCommands>('publisher', script('load/publisher.js'))
  ended.push(
    () => viewers.stop(),
    () => publisher.stop(),
    () => server.close(),
  )
  const stage = { server, viewers, publisher, cpu: () => ({ serverUs: 0, redisUs: 0, loadUs: 0 }) }
  const load = { viewers: VIEWERS, channels: 1, publishers: 2, publish: { count: EVENTS }, padding: 10 }
  const scale = { warmUpMs: 10_000, measureMs: 10_000, share: 1 }
  const turns = deliver(stage as unknown as DeliveryStage, load, { scale, part: 1, profile: null })
  return (await turns.next()).value as Run
}

/** Does something else with the event in the middle, for one viewer. */
const once =
  (otherwise: (frame: string) => string[]): Delivery =>
  (frame, event, viewer) =>
    event === MIDDLE && viewer === 3 ? otherwise(frame) : [frame]

const WORKLOAD: Workload = {
  name: 'a-workload',
  title: 'a workload',
  reference: 'a reference',
  measures: [
    {
      figure: 'eventsPerSecond',
      label: 'delivered',
      unit: 'events/s',
      better: 'more',
      target: { kind: 'ratio-at-least', ratio: 0.01 },
    },
  ],
  async *measure() {},
}

describe('the load client', () => {
  test('fails a publish on a connection that was closed while it rested', async () => {
    const server = await startFaultyServer(frame => [frame])
    const publisher = new CommandProcess<PublisherCommands>('publisher', script('load/publisher.js'))
    ended.push(() => publisher.stop())
    const { port } = server
    await publisher.call('connect', { port, path: '/', connections: 1, channels: 1, padding: 0 })
    await server.close()
    // It has heard of that when it has done something else.
    await publisher.call('publish', { count: 0 })
    await expect(publisher.call('publish', { count: 1 })).rejects.toThrow('connection was closed')
  })

  test('finds nothing wrong with a server that delivers each event once and in order', async () => {
    const run = await runAgainst(frame => [frame])
    expect(run.delivery).toMatchObject({ expected: EVENTS * VIEWERS, received: EVENTS * VIEWERS })
    expect(outcomeOf(WORKLOAD, { reference: [run], product: [run] })).toMatchObject({
      faults: [],
      measures: [{ ratio: 1, met: true }],
    })
  })

  test('reads events wherever a server cuts the stream', async () => {
    const cut = (frame: string) => [frame.slice(0, 9), frame.slice(9, -1), frame.slice(-1)]
    const run = await runAgainst(cut)
    expect(run.delivery).toMatchObject({ received: EVENTS * VIEWERS, missing: 0, doubled: 0 })
  })

  test('turns a result red when one viewer does not get one event', async () => {
    const good = await runAgainst(frame => [frame])
    const bad = await runAgainst(once(() => []))
    expect(bad.delivery).toMatchObject({ missing: 1, doubled: 0, reordered: 0 })
    expect(outcomeOf(WORKLOAD, { reference: [good], product: [bad] })).toMatchObject({
      faults: ['product: 1 missing'],
      measures: [{ met: false }],
    })
    expect(outcomeOf(WORKLOAD, { reference: [bad], product: [good] }).faults).toEqual([
      'reference: 1 missing',
    ])
  })

  test('notices that the last event does not come', async () => {
    const { delivery } = await runAgainst((frame, event, viewer) =>
      event === EVENTS && viewer === 1 ? [] : [frame],
    )
    expect(delivery).toMatchObject({ missing: 1, received: EVENTS * VIEWERS - 1 })
  })

  test('notices an event that comes twice', async () => {
    const { delivery } = await runAgainst(once(frame => [frame, frame]))
    expect(delivery).toMatchObject({ missing: 0, doubled: 1, reordered: 0 })
  })

  test('notices an event that comes late', async () => {
    let late = ''
    const { delivery } = await runAgainst((frame, event, viewer) => {
      if (viewer !== 3 || event < MIDDLE || event > MIDDLE + 5) return [frame]
      if (event === MIDDLE) late = frame
      return event === MIDDLE ? [] : event === MIDDLE + 5 ? [frame, late] : [frame]
    })
    expect(delivery).toMatchObject({ missing: 0, doubled: 0, reordered: 1 })
  })

  test('notices a server that tells of a hole', async () => {
    const { delivery } = await runAgainst(once(frame => ['event: gap\ndata: {"missed":2}\n\n', frame]))
    expect(delivery).toMatchObject({ missing: 0, gaps: 1 })
  })
})

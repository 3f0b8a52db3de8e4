// Everybody comes back at once with a cursor, and is to get the same 500 events.

import { limitsOf, PADDING, PUBLISH_PATH } from '../deliver.ts'
import { measured } from '../measured.ts'
import { neutralStorm } from '../neutral-client.ts'
import { type DeliveryStage, onStage } from '../stage.ts'
import { type RunContext, type Scale, serverOf, type Turns, type Workload } from '../workload.ts'

const VIEWERS = 1_000
const EVENTS = 500

/**
 * So often they have come back and left again before it counts: a gateway that has just been started compiles its code
 * for as many connections, and the reference is as warm.
 */
const WARM_UP_STORMS = 4

async function* storm(stage: DeliveryStage, context: RunContext): Turns {
  const { server, viewers, publisher } = stage
  const { port } = server
  const count = viewersOf(context.scale)
  await publisher.call('connect', {
    port,
    path: PUBLISH_PATH,
    connections: 1,
    channels: 1,
    padding: PADDING,
  })
  const first = await publisher.call('publish', { count: 1 })
  const cursor = JSON.parse(first.lastAnswer).ids[0] as string
  const { last } = await publisher.call('publish', { count: EVENTS })

  const headers = { 'Last-Event-ID': cursor }
  const comeBack = async (count: number) => {
    await viewers.call('open', { port, path: PUBLISH_PATH, channels: 1, viewers: count, headers, first: 2 })
    return viewers.call('settle', { last, first: 2 })
  }
  for (let i = 0; i < WARM_UP_STORMS; i++) {
    await comeBack(count)
    await viewers.call('closeAll')
  }

  await viewers.call('mark')
  const { result: seen, cpu } = await measured(stage, context, () => comeBack(count))
  yield {
    figures: {
      eventsPerSecond: (seen.received / seen.lastAfterMs) * 1000,
      wholeMs: seen.lastAfterMs,
      cpuUsPerEvent: (cpu.serverUs + cpu.redisUs) / seen.received,
      viewersCpuShare: seen.cpuShare,
    },
    delivery: seen,
    limits: limitsOf(seen),
  }
}

function viewersOf({ share }: Scale): number {
  return Math.round(VIEWERS * Math.max(share, 0.5))
}

export const REPLAY_STORM: Workload = {
  name: 'replay-storm',
  title: '1,000 viewers come back at once, 500 events each',
  reference: 'raw http + Redis, the log read once a viewer',
  measures: [
    {
      figure: 'eventsPerSecond',
      label: 'replayed',
      unit: 'events/s',
      better: 'more',
      target: { kind: 'ratio-at-least', ratio: 10 },
    },
    { figure: 'wholeMs', label: 'until the last is whole', unit: 'ms', better: 'less' },
  ],
  measure: (side, context) => onStage(side, serverOf(side, 'raw-redis'), stage => storm(stage, context)),
  neutral: (side, _context, folder) =>
    onStage(side, serverOf(side, 'raw-redis'), stage =>
      neutralStorm(folder, stage, { viewers: VIEWERS, events: EVENTS, padding: PADDING }),
    ),
}

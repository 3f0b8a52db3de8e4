// Everybody comes back at once with a cursor, and is to get the same 500 events.

import { limitsOf, PADDING, PUBLISH_PATH } from '../deliver.ts'
import { neutralStorm } from '../neutral-client.ts'
import { onStage, type Stage } from '../stage.ts'
import { type Run, type RunContext, type Scale, serverOf, type Workload } from '../workload.ts'

const VIEWERS = 1_000
const EVENTS = 500

/**
 * So often they have come back and left again before it counts: a gateway that has just been started compiles its code
 * for as many connections, and the reference is as warm.
 */
const WARM_UP_STORMS = 4

async function storm(stage: Stage, { scale, profile }: RunContext): Promise<Run> {
  const { server, viewers, publisher } = stage
  const { port } = server
  const count = viewersOf(scale)
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
  if (profile) await server.startProfile()
  const before = stage.serverCpuMs()
  const seen = await comeBack(count)
  const after = stage.serverCpuMs()
  if (profile) await server.endProfile(profile)
  const cpuMs = after.server + after.redis - before.server - before.redis
  return {
    figures: {
      eventsPerSecond: (seen.received / seen.lastAfterMs) * 1000,
      wholeMs: seen.lastAfterMs,
      cpuUsPerEvent: (cpuMs * 1000) / seen.received,
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
  run: (side, context) => onStage(serverOf(side, 'raw-redis'), stage => storm(stage, context)),
  neutralRun: (side, _context, folder) =>
    onStage(serverOf(side, 'raw-redis'), stage =>
      neutralStorm(folder, stage, { viewers: VIEWERS, events: EVENTS, padding: PADDING }),
    ),
}

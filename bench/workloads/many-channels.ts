// Many channels with one viewer each: every event costs a publish, nothing is shared.

import { deliver, PADDING } from '../deliver.ts'
import { neutralDeliver } from '../neutral-client.ts'
import { onStage } from '../stage.ts'
import { type RunContext, serverOf, type Workload } from '../workload.ts'

const CHANNELS = 2_000

/** Here it is code that is measured, not the kernel, and that takes a while until it is compiled. */
const WARM_UP_FACTOR = 3

function manyChannels(publishers: number): Workload {
  const load = { viewers: CHANNELS, channels: CHANNELS, publishers, publish: {}, padding: PADDING }
  return {
    name: `channels-2000-from-${publishers}`,
    title: `2,000 channels, 1 viewer each, ${publishers} publishers in closed loop`,
    reference: 'raw http + Redis',
    ceiling: 'bare http + Redis',
    turnsPerRound: 10,
    staysUp: true,
    measures: [
      {
        figure: 'eventsPerSecond',
        label: 'delivered',
        unit: 'events/s',
        better: 'more',
        target: { kind: 'ratio-at-least', ratio: 1.2 },
      },
      {
        figure: 'cpuUsPerEvent',
        label: 'CPU of server and Redis a delivered event',
        unit: 'µs',
        better: 'less',
        target: { kind: 'ratio-at-most', ratio: 0.8 },
      },
    ],
    measure: (side, context) =>
      onStage(side, serverOf(side, 'raw-redis', 'bare-publish'), stage =>
        deliver(stage, load, warmer(context)),
      ),
    neutral: (side, context, folder) =>
      onStage(side, serverOf(side, 'raw-redis'), stage => neutralDeliver(folder, stage, load, context)),
  }
}

function warmer(context: RunContext): RunContext {
  const { scale } = context
  return { ...context, scale: { ...scale, warmUpMs: scale.warmUpMs * WARM_UP_FACTOR } }
}

export const MANY_CHANNELS: readonly Workload[] = [manyChannels(16), manyChannels(64)]

// One viewer, one event at a time, nothing else to do.

import { CommandProcess } from '../command-process.ts'
import { openAll, PADDING, PUBLISH_PATH, WATCH_PATH, warmUp } from '../deliver.ts'
import type { RestCommands } from '../load/rest-latency.ts'
import { measured } from '../measured.ts'
import { type DeliveryStage, onStage, script } from '../stage.ts'
import { type RunContext, serverOf, type Turns, type Workload } from '../workload.ts'

const EVENTS = 400

/** A server that has rested since its start has cold code, which one that runs for days has not. */
const WARM_UP = { viewers: 16, channels: 16, publishers: 16, publish: {}, padding: PADDING }

async function* latencyAtRest(stage: DeliveryStage, context: RunContext): Turns {
  await openAll(stage, WARM_UP)
  await warmUp(stage, WARM_UP, context)
  await stage.viewers.call('closeAll')
  const client = new CommandProcess<RestCommands>('rest-latency', script('load/rest-latency.js'))
  try {
    for (let turn = 0; ; turn++) {
      const request = {
        port: stage.server.port,
        streamPath: WATCH_PATH.replace('%d', `-rest-${turn}`),
        publishPath: PUBLISH_PATH.replace('%d', `-rest-${turn}`),
        events: Math.round(EVENTS * context.scale.share * context.part),
      }
      const { result } = await measured(stage, context, () => client.call('measure', request))
      yield { figures: { ...result }, limits: [] }
    }
  } finally {
    await client.stop()
  }
}

export const LATENCY_AT_REST: Workload = {
  name: 'latency-at-rest',
  title: '1 viewer, 1 publisher, one event at a time',
  reference: 'raw http + Redis',
  turnsPerRound: 4,
  measures: [
    {
      figure: 'answeredToReadP50Ms',
      label: 'publish answered to event read, median',
      unit: 'ms',
      better: 'less',
      target: { kind: 'ratio-at-most', ratio: 1.2 },
    },
    { figure: 'sentToReadP50Ms', label: 'publish sent to event read, median', unit: 'ms', better: 'less' },
    { figure: 'sentToReadP99Ms', label: 'the same, p99', unit: 'ms', better: 'less' },
  ],
  measure: (side, context) =>
    onStage(side, serverOf(side, 'raw-redis'), stage => latencyAtRest(stage, context)),
}

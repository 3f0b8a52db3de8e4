// One viewer, one event at a time, nothing else to do.

import { CommandProcess } from '../command-process.ts'
import { PUBLISH_PATH, WATCH_PATH } from '../deliver.ts'
import type { RestCommands } from '../load/rest-latency.ts'
import { onStage, type Stage, script } from '../stage.ts'
import { type Run, type RunContext, serverOf, type Workload } from '../workload.ts'

const EVENTS = 400

async function latencyAtRest({ server }: Stage, { scale, profile }: RunContext): Promise<Run> {
  const client = new CommandProcess<RestCommands>('rest-latency', script('load/rest-latency.js'))
  try {
    if (profile) await server.startProfile()
    const latency = await client.call('measure', {
      port: server.port,
      streamPath: WATCH_PATH.replace('%d', '0'),
      publishPath: PUBLISH_PATH.replace('%d', '0'),
      events: Math.round(EVENTS * scale.share),
    })
    if (profile) await server.endProfile(profile)
    return { figures: { ...latency }, limits: [] }
  } finally {
    await client.stop()
  }
}

export const LATENCY_AT_REST: Workload = {
  name: 'latency-at-rest',
  title: '1 viewer, 1 publisher, one event at a time',
  reference: 'raw http + Redis',
  measures: [
    {
      figure: 'sentToReadP50Ms',
      label: 'publish sent to event read, median',
      unit: 'ms',
      better: 'less',
      target: { kind: 'ratio-at-most', ratio: 1.2 },
    },
    { figure: 'sentToReadP99Ms', label: 'the same, p99', unit: 'ms', better: 'less' },
    {
      figure: 'answeredToReadP50Ms',
      label: 'publish answered to event read, median',
      unit: 'ms',
      better: 'less',
    },
  ],
  run: (side, context) => onStage(serverOf(side, 'raw-redis'), stage => latencyAtRest(stage, context)),
}

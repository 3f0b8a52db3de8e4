// How fast viewers get in.

import { PUBLISH_PATH } from '../deliver.ts'
import { onStage, type Stage } from '../stage.ts'
import { type Run, type RunContext, serverOf, type Workload } from '../workload.ts'

const CONNECTIONS = 5_000
const CHANNELS = 100

/** The first ones find cold code. */
const WARM_UP = 1_500

async function connects(stage: Stage, { scale, profile }: RunContext): Promise<Run> {
  const { server, viewers } = stage
  const count = Math.round(CONNECTIONS * scale.share)
  const watch = (count: number) =>
    viewers.call('open', { port: server.port, path: PUBLISH_PATH, channels: CHANNELS, viewers: count })
  await watch(WARM_UP)
  if (profile) await server.startProfile()
  const before = stage.serverCpuMs()
  const { seconds } = await watch(count)
  const after = stage.serverCpuMs()
  if (profile) await server.endProfile(profile)
  const cpuMs = after.server + after.redis - before.server - before.redis
  return {
    figures: { connectsPerSecond: count / seconds, cpuUsPerConnect: (cpuMs * 1000) / count },
    limits: [],
  }
}

export const CONNECTS: Workload = {
  name: 'connects',
  title: '5,000 viewers of 100 channels connect, 128 at once',
  reference: 'raw http',
  measures: [
    { figure: 'connectsPerSecond', label: 'connected', unit: 'viewers/s', better: 'more' },
    { figure: 'cpuUsPerConnect', label: 'CPU a connect', unit: 'µs', better: 'less' },
  ],
  run: (side, context) => onStage(serverOf(side, 'raw-http'), stage => connects(stage, context)),
}

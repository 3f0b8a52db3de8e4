// How fast viewers get in.

import { PUBLISH_PATH } from '../deliver.ts'
import { onStage, type Stage } from '../stage.ts'
import { type Measure, type Run, type RunContext, serverOf, type Workload } from '../workload.ts'

const CONNECTIONS = 5_000
const CHANNELS = 100

/** The first ones find cold code. */
const WARM_UP = 1_500

const SECRET = 'the-secret-of-the-bench'

async function connects(
  stage: Stage,
  { scale, profile }: RunContext,
  headers: Record<string, string> = {},
): Promise<Run> {
  const { server, viewers } = stage
  const count = Math.round(CONNECTIONS * scale.share)
  const watch = (count: number) =>
    viewers.call('open', {
      port: server.port,
      path: PUBLISH_PATH,
      channels: CHANNELS,
      viewers: count,
      headers,
    })
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

const CONNECTED: Measure = {
  figure: 'connectsPerSecond',
  label: 'connected',
  unit: 'viewers/s',
  better: 'more',
}
const CPU: Measure = { figure: 'cpuUsPerConnect', label: 'CPU a connect', unit: 'µs', better: 'less' }

export const CONNECTS: Workload = {
  name: 'connects',
  title: '5,000 viewers of 100 channels connect, 128 at once',
  reference: 'raw http',
  measures: [CONNECTED, CPU],
  run: (side, context) => onStage(serverOf(side, 'raw-http'), stage => connects(stage, context)),
}

/** What it costs to ask who a viewer is, once its key is known. */
export const CONNECTS_WITH_KEY: Workload = {
  name: 'connects-with-key',
  title: '5,000 viewers of 100 channels connect with an API key, 128 at once',
  reference: 'Millrace without access control',
  measures: [{ ...CONNECTED, target: { kind: 'ratio-at-least', ratio: 0.95 } }, CPU],
  run: (side, context) =>
    side === 'reference'
      ? onStage('gateway', stage => connects(stage, context))
      : onStage('gateway', stage => connects(stage, context, { Authorization: `Bearer ${SECRET}` }), {
          MILLRACE_API_KEYS: `bench:${SECRET}`,
        }),
}

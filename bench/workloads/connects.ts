// How fast viewers get in.

import { PUBLISH_PATH } from '../deliver.ts'
import { measured } from '../measured.ts'
import { type DeliveryStage, onStage, untilAtRest } from '../stage.ts'
import { type Measure, type RunContext, serverOf, type Turns, type Workload } from '../workload.ts'

/** So many are connected at most; then all of them leave. */
const CONNECTIONS = 5_000
const CHANNELS = 100

/** So often they come and go first: how soon code is compiled well differs from process to process. */
const WARM_UP_FILLS = 2

/** How often they come in a round, and in how many turns. */
const FILLS = 2
const TURNS_PER_FILL = 5

const SECRET = 'the-secret-of-the-bench'
const HEADERS = { Authorization: `Bearer ${SECRET}` }

async function* connects(
  stage: DeliveryStage,
  context: RunContext,
  headers: Record<string, string> = {},
): Turns {
  const { server, viewers } = stage
  const { scale, part } = context
  const { port } = server
  const count = Math.round(CONNECTIONS * scale.share * Math.min(1, FILLS * part))
  const watch = (count: number) =>
    viewers.call('open', { port, path: PUBLISH_PATH, channels: CHANNELS, viewers: count, headers })
  const leave = async () => {
    await viewers.call('closeAll')
    await untilAtRest(stage)
  }
  for (let fill = 0; fill < WARM_UP_FILLS; fill++) {
    await leave()
    await watch(Math.round(CONNECTIONS * scale.share))
  }
  for (let turn = 0; ; turn++) {
    if (turn % TURNS_PER_FILL === 0) await leave()
    const { result, cpu } = await measured(stage, context, () => watch(count))
    const cpuUsPerConnect = (cpu.serverUs + cpu.redisUs) / count
    yield { figures: { connectsPerSecond: count / result.seconds, cpuUsPerConnect }, limits: [] }
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
  turnsPerRound: FILLS * TURNS_PER_FILL,
  measures: [CONNECTED, CPU],
  measure: (side, context) => onStage(side, serverOf(side, 'raw-http'), stage => connects(stage, context)),
}

/** What it costs to ask who a viewer is, once its key is known. */
export const CONNECTS_WITH_KEY: Workload = {
  name: 'connects-with-key',
  title: '5,000 viewers of 100 channels connect with an API key, 128 at once',
  reference: 'Millrace without access control',
  turnsPerRound: FILLS * TURNS_PER_FILL,
  measures: [{ ...CONNECTED, target: { kind: 'ratio-at-least', ratio: 0.95 } }, CPU],
  measure: (side, context) =>
    side === 'reference'
      ? onStage(side, 'gateway', stage => connects(stage, context))
      : onStage(side, 'gateway', stage => connects(stage, context, HEADERS), {
          MILLRACE_API_KEYS: `bench:${SECRET}`,
        }),
}

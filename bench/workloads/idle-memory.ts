// What a viewer costs that hears nothing.

import { PUBLISH_PATH } from '../deliver.ts'
import { measured } from '../measured.ts'
import { type DeliveryStage, onStage } from '../stage.ts'
import { type RunContext, serverOf, type Turns, type Workload } from '../workload.ts'

const CONNECTIONS = 10_000
const CHANNELS = 100

/** They come and go first, so that code and pools are there that any number of viewers share. */
const WARM_UP = 200

async function* idleMemory(stage: DeliveryStage, context: RunContext): Turns {
  const { server, viewers } = stage
  const { port } = server
  const count = Math.round(CONNECTIONS * context.scale.share)
  const watch = (count: number) =>
    viewers.call('open', { port, path: PUBLISH_PATH, channels: CHANNELS, viewers: count })
  await watch(WARM_UP)
  await viewers.call('closeAll')
  const before = await server.residentBytesAfterGc()
  await measured(stage, context, () => watch(count))
  const after = await server.residentBytesAfterGc()
  yield { figures: { kibPerConnection: (after - before) / count / 1024 }, limits: [] }
}

export const IDLE_MEMORY: Workload = {
  name: 'idle-memory',
  title: '10,000 idle viewers of 100 channels',
  reference: 'raw http',
  measures: [
    {
      figure: 'kibPerConnection',
      label: 'resident memory a viewer, after garbage collection',
      unit: 'KiB',
      better: 'less',
      target: { kind: 'ratio-at-most', ratio: 0.75 },
    },
  ],
  measure: (side, context) => onStage(side, serverOf(side, 'raw-http'), stage => idleMemory(stage, context)),
}

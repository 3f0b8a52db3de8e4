// What a viewer costs that hears nothing.

import { PUBLISH_PATH } from '../deliver.ts'
import { onStage, type Stage } from '../stage.ts'
import { type Run, type RunContext, serverOf, type Workload } from '../workload.ts'

const CONNECTIONS = 10_000
const CHANNELS = 100

/** They come and go first, so that code and pools are there that any number of viewers share. */
const WARM_UP = 200

async function idleMemory({ server, viewers }: Stage, { scale, profile }: RunContext): Promise<Run> {
  const { port } = server
  const count = Math.round(CONNECTIONS * scale.share)
  const watch = (count: number) =>
    viewers.call('open', { port, path: PUBLISH_PATH, channels: CHANNELS, viewers: count })
  await watch(WARM_UP)
  await viewers.call('closeAll')
  const before = await server.residentBytesAfterGc()
  if (profile) await server.startProfile()
  await watch(count)
  if (profile) await server.endProfile(profile)
  const after = await server.residentBytesAfterGc()
  return { figures: { kibPerConnection: (after - before) / count / 1024 }, limits: [] }
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
  run: (side, context) => onStage(serverOf(side, 'raw-http'), stage => idleMemory(stage, context)),
}

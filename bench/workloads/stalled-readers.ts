// Readers that stall: what they cost the others and the gateway. The reference is the gateway without them.

import { measureDelivery, openAll, WATCH_PATH } from '../deliver.ts'
import { type DeliveryStage, onStage } from '../stage.ts'
import type { RunContext, Side, Turns, Workload } from '../workload.ts'

const STALLED = 200
const MIB = 1024 * 1024

/** Large events, since the kernel takes some megabytes for a reader before the gateway notices anything. */
const LOAD = { viewers: 100, channels: 1, publishers: 4, publish: { rate: 100 }, padding: 16_000 }

/** More than the kernel takes for a reader; published without stalled readers all the same. */
const FILL = { rate: 200, count: 400 }

const MEMORY_STEP_MS = 50

async function* stalledReaders(stage: DeliveryStage, side: Side, context: RunContext): Turns {
  const { server, viewers } = stage
  await openAll(stage, LOAD)
  if (side === 'product') {
    const request = { port: server.port, path: WATCH_PATH, channels: 1, viewers: STALLED, stalled: true }
    await viewers.call('open', request)
  }
  const { last } = await stage.publisher.call('publish', FILL)
  await viewers.call('settle', { last })
  const stalled = await readersBehind(server.opsUrl)
  let peakBytes = 0
  const sampling = setInterval(() => {
    peakBytes = Math.max(peakBytes, server.residentBytes)
  }, MEMORY_STEP_MS)
  const run = await measureDelivery(stage, LOAD, context).finally(() => clearInterval(sampling))
  const limits = [...run.limits]
  if (side === 'product' && stalled < STALLED) limits.push(`only ${stalled} readers had stalled`)
  yield { ...run, figures: { ...run.figures, peakMib: peakBytes / MIB }, limits }
}

/** How often the gateway has switched a reader to the log because it did not keep up. */
async function readersBehind(opsUrl: string | null): Promise<number> {
  const metrics = await (await fetch(`${opsUrl}/metrics`)).text()
  return Number(/^millrace_catchups_total\{reason="slow"\} (\d+)/m.exec(metrics)?.[1] ?? 0)
}

export const STALLED_READERS: Workload = {
  name: 'stalled-readers',
  title: '100 viewers of 1.6 MB/s, beside 200 that have stopped reading',
  reference: 'the same without stalled readers',
  measures: [
    {
      figure: 'p99Ms',
      label: 'p99 of latency of the others',
      unit: 'ms',
      better: 'less',
      target: { kind: 'ratio-at-most', ratio: 1.2 },
    },
    {
      figure: 'peakMib',
      label: 'resident memory of the gateway, peak',
      unit: 'MiB',
      better: 'less',
      target: { kind: 'at-most-more', more: 250 },
    },
  ],
  measure: (side, context) => onStage(side, 'gateway', stage => stalledReaders(stage, side, context)),
}

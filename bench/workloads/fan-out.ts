// One channel with many viewers.

import { deliver, PADDING } from '../deliver.ts'
import type { PublishRequest } from '../load/publisher.ts'
import { neutralDeliver } from '../neutral-client.ts'
import { onStage } from '../stage.ts'
import { type Measure, serverOf, type Workload } from '../workload.ts'

const throughput: Measure = {
  figure: 'eventsPerSecond',
  label: 'delivered',
  unit: 'events/s',
  better: 'more',
}
const p99: Measure = { figure: 'p99Ms', label: 'p99 of latency', unit: 'ms', better: 'less' }
const cpu: Measure = { figure: 'cpuUsPerEvent', label: 'CPU a delivered event', unit: 'µs', better: 'less' }

/** Events that publishers may be ahead of the viewers where they publish as fast as they can. */
const WINDOW = 500

interface FanOut {
  readonly name: string
  readonly title: string
  readonly viewers: number
  readonly publishers: number
  readonly publish: PublishRequest
  readonly measures: readonly Measure[]
  /** Where the reference keeps up, so that nothing is left over from a turn. */
  readonly paused?: Pick<Workload, 'ceiling' | 'turnsPerRound'>
}

function fanOut({ name, title, measures, viewers, publishers, publish, paused }: FanOut): Workload {
  const load = { viewers, channels: 1, publishers, publish, padding: PADDING }
  return {
    name,
    title,
    reference: 'raw http',
    ...paused,
    measures,
    measure: (side, context) =>
      onStage(side, serverOf(side, 'raw-http', 'bare-write'), stage => deliver(stage, load, context)),
    neutral: (side, context, folder) =>
      onStage(side, serverOf(side, 'raw-http'), stage => neutralDeliver(folder, stage, load, context)),
  }
}

const fastest = (viewers: number): PublishRequest => ({ window: WINDOW, fanOut: viewers })

export const FAN_OUT: readonly Workload[] = [
  fanOut({
    name: 'fan-out-1000-fastest',
    title: '1 channel, 1,000 viewers, as fast as possible',
    viewers: 1_000,
    publishers: 64,
    publish: fastest(1_000),
    measures: [{ ...throughput, target: { kind: 'ratio-at-least', ratio: 25 } }],
  }),
  fanOut({
    name: 'fan-out-5000-fastest',
    title: '1 channel, 5,000 viewers, as fast as possible',
    viewers: 5_000,
    publishers: 16,
    publish: fastest(5_000),
    measures: [throughput],
  }),
  fanOut({
    name: 'fan-out-1000-at-100',
    title: '1 channel, 1,000 viewers, 100 events/s',
    viewers: 1_000,
    publishers: 4,
    publish: { rate: 100 },
    measures: [throughput, p99],
  }),
  fanOut({
    name: 'fan-out-5000-at-100',
    title: '1 channel, 5,000 viewers, 100 events/s',
    viewers: 5_000,
    publishers: 4,
    publish: { rate: 100 },
    measures: [
      { ...throughput, target: { kind: 'ratio-at-least', ratio: 5 } },
      { ...p99, target: { kind: 'ratio-at-most', ratio: 0.1 } },
    ],
  }),
  fanOut({
    name: 'fan-out-1000-at-20',
    title: '1 channel, 1,000 viewers, 20 events/s',
    viewers: 1_000,
    publishers: 1,
    publish: { rate: 20 },
    paused: { ceiling: 'bare socket.write', turnsPerRound: 4 },
    measures: [{ ...cpu, target: { kind: 'ratio-at-most', ratio: 0.9 } }, p99],
  }),
]

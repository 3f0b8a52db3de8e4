// What most workloads are made of: viewers watch, publishers publish, what arrives is checked and timed.

import type { Published, PublishRequest } from './load/publisher.ts'
import type { Seen } from './load/viewers.ts'
import { measured } from './measured.ts'
import type { Cpu, DeliveryStage } from './stage.ts'
import type { Run, RunContext, Turns } from './workload.ts'

export interface Load {
  readonly viewers: number
  readonly channels: number
  readonly publishers: number
  readonly publish: PublishRequest
  /** Characters that fill an event up. */
  readonly padding: number
}

/** A publish of all servers, references included. */
export const PUBLISH_PATH = '/v1/channels/c%d/events'

/** From the beginning, so that a viewer is sure of all events although it connects before it is attached. */
export const WATCH_PATH = `${PUBLISH_PATH}?from=earliest`

/** An event of about 100 bytes. */
export const PADDING = 44

/** Above this share of a core a process of the load may be what limits a run. */
const SATURATED = 0.9

/** Opens the viewers, warms up, and measures. */
export async function* deliver(stage: DeliveryStage, load: Load, context: RunContext): Turns {
  await openAll(stage, load)
  await warmUp(stage, load, context)
  for (;;) yield await measureDelivery(stage, load, context)
}

export async function openAll({ server, viewers, publisher }: DeliveryStage, load: Load): Promise<void> {
  const { port } = server
  const { channels, padding } = load
  await viewers.call('open', { port, path: WATCH_PATH, channels, viewers: load.viewers })
  await publisher.call('connect', {
    port,
    path: PUBLISH_PATH,
    connections: load.publishers,
    channels,
    padding,
  })
}

export async function warmUp(
  { viewers, publisher }: DeliveryStage,
  load: Load,
  { scale }: RunContext,
): Promise<void> {
  const { last } = await publisher.call('publish', { ...load.publish, durationMs: scale.warmUpMs })
  await viewers.call('settle', { last })
}

export async function measureDelivery(stage: DeliveryStage, load: Load, context: RunContext): Promise<Run> {
  const { viewers, publisher } = stage
  const durationMs = context.scale.measureMs * context.part
  await viewers.call('mark')
  const { result, cpu } = await measured(stage, context, async () => {
    const published = await publisher.call('publish', { ...load.publish, durationMs })
    return { published, seen: await viewers.call('settle', { last: published.last }) }
  })
  const { published, seen } = result
  return { figures: figuresOf(published, seen, cpu), delivery: seen, limits: limitsOf(seen, published) }
}

function figuresOf(published: Published, seen: Seen, { serverUs, redisUs }: Cpu) {
  return {
    eventsPerSecond: (seen.received / seen.spanMs) * 1000,
    publishedPerSecond: published.events / published.seconds,
    p50Ms: seen.p50Ms,
    p99Ms: seen.p99Ms,
    answerP50Ms: published.answerP50Ms,
    cpuUsPerEvent: (serverUs + redisUs) / seen.received,
    serverCpuUsPerEvent: serverUs / seen.received,
    viewersCpuShare: seen.cpuShare,
    publisherCpuShare: published.cpuShare,
  }
}

/** What of the load itself was at its limit. */
export function limitsOf(seen: { cpuShare: number }, published?: { cpuShare: number }): string[] {
  return [
    ...(seen.cpuShare > SATURATED ? ['the load client'] : []),
    ...(published && published.cpuShare > SATURATED ? ['the publisher'] : []),
  ]
}

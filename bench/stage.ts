// What one side of a workload happens on: a Redis, a server, the processes of the load. All are started anew for each
// side, so that none finds what another one left behind, and stay up from turn to turn.

import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { type EmbeddedRedis, startEmbeddedRedis } from '../dev/embedded-redis.ts'
import { projectRoot } from '../dev/project-root.ts'
import { CommandProcess } from './command-process.ts'
import type { PublisherCommands } from './load/publisher.ts'
import type { SubmitterCommands } from './load/submitter.ts'
import type { ViewerCommands } from './load/viewers.ts'
import { cpuUs } from './process-usage.ts'
import { BenchServer, type ServerKind } from './server.ts'
import type { Side, Turns } from './workload.ts'

/** CPU time in µs. */
export interface Cpu {
  readonly serverUs: number
  /** 0 where the server uses none. */
  readonly redisUs: number
  readonly loadUs: number
}

export interface Stage {
  readonly redis: EmbeddedRedis
  /** Of the workload itself, to prepare and to check. */
  readonly client: Redis
  /** null where the load is its own reference. */
  readonly server: BenchServer | null
  /** So far. */
  cpu(): Cpu
}

/** A server with viewers and publishers. */
export interface DeliveryStage extends Stage {
  readonly server: BenchServer
  readonly viewers: CommandProcess<ViewerCommands>
  readonly publisher: CommandProcess<PublisherCommands>
}

/** `env` configures the server beyond what ships. */
export function onStage(
  side: Side,
  kind: ServerKind,
  use: (stage: DeliveryStage) => Turns,
  env: Record<string, string> = {},
): Turns {
  const setUp = async (ground: Ground, started: Started): Promise<DeliveryStage> => {
    const server = started(await BenchServer.start(kind, ground.redis.url, env))
    const viewers = started(new CommandProcess<ViewerCommands>('viewers', script('load/viewers.js')))
    const publisher = started(new CommandProcess<PublisherCommands>('publisher', script('load/publisher.js')))
    // What keeps a fast publisher from running away from the viewers.
    viewers.onNotice = delivered => publisher.tell(delivered)
    const cpu = () => ({
      serverUs: cpuUs(server.pid),
      redisUs: server.usesRedis ? cpuUs(ground.redis.pid) : 0,
      loadUs: cpuUs(viewers.pid) + cpuUs(publisher.pid),
    })
    return { ...ground, server, viewers, publisher, cpu }
  }
  return withParts(side, setUp, use)
}

/** What a worker is measured on: it finds its load in Redis. */
export interface WorkerStage extends Stage {
  readonly server: BenchServer
}

export function onWorkerStage(
  side: Side,
  kind: ServerKind,
  env: Record<string, string>,
  use: (stage: WorkerStage) => Turns,
): Turns {
  const setUp = async (ground: Ground, started: Started): Promise<WorkerStage> => {
    const server = started(await BenchServer.start(kind, ground.redis.url, env))
    const cpu = () => ({ serverUs: cpuUs(server.pid), redisUs: cpuUs(ground.redis.pid), loadUs: 0 })
    return { ...ground, server, cpu }
  }
  return withParts(side, setUp, use)
}

/** What submitting is measured on: who submits, and the server in between, which the reference lacks. */
export interface SubmitStage extends Stage {
  readonly submitter: CommandProcess<SubmitterCommands>
}

/** `kind` null: who submits adds jobs itself, and is what is measured. */
export function onSubmitStage(
  side: Side,
  kind: ServerKind | null,
  use: (stage: SubmitStage) => Turns,
): Turns {
  const setUp = async (ground: Ground, started: Started): Promise<SubmitStage> => {
    const server = kind && started(await BenchServer.start(kind, ground.redis.url))
    const name = server ? 'submitter' : 'bare-submitter'
    const submitter = started(new CommandProcess<SubmitterCommands>(name, script(`load/${name}.js`)))
    const cpu = () => ({
      serverUs: cpuUs((server ?? submitter).pid),
      redisUs: cpuUs(ground.redis.pid),
      loadUs: server ? cpuUs(submitter.pid) : 0,
    })
    return { ...ground, server, submitter, cpu }
  }
  return withParts(side, setUp, use)
}

type Ground = Pick<Stage, 'redis' | 'client'>
type Started = <P extends { stop(): Promise<void> }>(part: P) => P

/**
 * Sets up, hands on what `use` measures, and ends everything whatever happens. Between two turns, when another side has
 * its own, nothing is left to do here; what the processes use all the same is a figure of the next turn.
 */
async function* withParts<S extends Stage>(
  side: Side,
  setUp: (ground: Ground, started: Started) => Promise<S>,
  use: (stage: S) => Turns,
): Turns {
  const parts: { stop(): Promise<void> }[] = []
  const started: Started = part => {
    parts.push(part)
    return part
  }
  try {
    const redis = started(await startRedis(side))
    const client = new Redis(redis.url, { maxRetriesPerRequest: null })
    started({ stop: async () => client.disconnect() })
    const stage = await setUp({ redis, client }, started)
    let idle = {}
    for await (const run of use(stage)) {
      await untilAtRest(stage)
      const from = performance.now()
      const usedUs = wholeUs(stage)
      yield { ...run, figures: { ...run.figures, ...idle } }
      idle = { idleCpuShare: (wholeUs(stage) - usedUs) / 1_000 / (performance.now() - from) }
    }
  } finally {
    await Promise.all(parts.map(part => part.stop()))
  }
}

/** Steps in which all processes together use less than a twentieth of a core are rest. */
const REST_STEP_MS = 20
const REST_STEP_USED_US = 1_000
const REST_STEPS = 500

/** Waits until what a turn has left behind is done: connections that close, a log that Redis rewrites. */
export async function untilAtRest(stage: Stage): Promise<void> {
  for (let step = 0; step < REST_STEPS; step++) {
    const usedUs = wholeUs(stage)
    await delay(REST_STEP_MS)
    if (wholeUs(stage) - usedUs > REST_STEP_USED_US) continue
    if (/^aof_rewrite_(in_progress|scheduled):1/m.test(await stage.client.info('persistence'))) continue
    return
  }
}

function wholeUs(stage: Stage): number {
  const { serverUs, redisUs, loadUs } = stage.cpu()
  return serverUs + redisUs + loadUs
}

/** The path of a built module of the benchmark. */
export function script(path: string): string {
  return join(projectRoot(), 'dist/bench', path)
}

/** Which Redis the workloads run on. Throws where its CPU time can't be measured. */
export async function redisVersion(): Promise<string> {
  const redis = await startRedis('product')
  const client = new Redis(redis.url)
  try {
    if (redis.source.includes('Docker')) throw new Error('the benchmark needs a redis-server on this machine')
    const info = await client.info('server')
    return /^redis_version:(\S+)/m.exec(info)?.[1] ?? 'of unknown version'
  } finally {
    client.disconnect()
    await redis.stop()
  }
}

/** As shipped: AOF, flushed once a second. In one place a side, so that a second benchmark at once is refused. */
async function startRedis(side: Side): Promise<EmbeddedRedis> {
  const dir = join(projectRoot(), `.millrace/bench-redis-${side}`)
  const redis = await startEmbeddedRedis({ dir })
  const client = new Redis(redis.url)
  // Of a benchmark that was cut off.
  await client.flushall()
  client.disconnect()
  const stop = redis.stop.bind(redis)
  redis.stop = async () => {
    await stop()
    await rm(dir, { recursive: true, force: true })
  }
  return redis
}

// What one run of a workload happens on: a Redis, a server, a process of viewers, a process of publishers. All
// are started anew for each run, so that no run finds what another one left behind.

import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { type EmbeddedRedis, startEmbeddedRedis } from '../dev/embedded-redis.ts'
import { projectRoot } from '../dev/project-root.ts'
import { CommandProcess } from './command-process.ts'
import type { PublisherCommands } from './load/publisher.ts'
import type { SubmitterCommands } from './load/submitter.ts'
import type { ViewerCommands } from './load/viewers.ts'
import { cpuMs } from './process-usage.ts'
import { BenchServer, type ServerKind } from './server.ts'
import type { Side } from './workload.ts'

export interface Stage {
  readonly server: BenchServer
  readonly redis: EmbeddedRedis
  readonly viewers: CommandProcess<ViewerCommands>
  readonly publisher: CommandProcess<PublisherCommands>
  /** CPU time so far of all that stands behind the URL: the server and, where it uses one, Redis. */
  serverCpuMs(): { server: number; redis: number }
}

/** Sets up, lets `use` run, and ends everything whatever happens. `env` configures the server beyond what ships. */
export function onStage<T>(
  kind: ServerKind,
  use: (stage: Stage) => Promise<T>,
  env: Record<string, string> = {},
): Promise<T> {
  return withParts(async started => {
    const redis = started(await startRedis())
    const server = started(await BenchServer.start(kind, redis.url, env))
    const viewers = started(new CommandProcess<ViewerCommands>('viewers', script('load/viewers.js')))
    const publisher = started(new CommandProcess<PublisherCommands>('publisher', script('load/publisher.js')))
    // What keeps a fast publisher from running away from the viewers.
    viewers.onNotice = delivered => publisher.tell(delivered)
    const serverCpuMs = () => ({
      server: server.cpuMs,
      redis: kind === 'raw-http' ? 0 : cpuMs(redis.pid),
    })
    return use({ server, redis, viewers, publisher, serverCpuMs })
  })
}

/** What a worker is measured on: a Redis and the worker. */
export type WorkerStage = Pick<Stage, 'server' | 'redis' | 'serverCpuMs'>

export function onWorkerStage<T>(
  kind: ServerKind,
  env: Record<string, string>,
  use: (stage: WorkerStage) => Promise<T>,
): Promise<T> {
  return withParts(async started => {
    const redis = started(await startRedis())
    const server = started(await BenchServer.start(kind, redis.url, env))
    const serverCpuMs = () => ({ server: server.cpuMs, redis: cpuMs(redis.pid) })
    return use({ server, redis, serverCpuMs })
  })
}

/** What submitting is measured on: a Redis, who submits, and the gateway in between, which the reference lacks. */
export interface SubmitStage {
  readonly server: BenchServer | null
  readonly redis: EmbeddedRedis
  readonly submitter: CommandProcess<SubmitterCommands>
  /** CPU time so far of Redis, and of whoever makes jobs of what is submitted. */
  serverCpuMs(): { server: number; redis: number }
}

export function onSubmitStage<T>(side: Side, use: (stage: SubmitStage) => Promise<T>): Promise<T> {
  return withParts(async started => {
    const redis = started(await startRedis())
    const server = side === 'product' ? started(await BenchServer.start('gateway', redis.url)) : null
    const name = side === 'product' ? 'submitter' : 'bare-submitter'
    const submitter = started(new CommandProcess<SubmitterCommands>(name, script(`load/${name}.js`)))
    const serverCpuMs = () => ({ server: cpuMs((server ?? submitter).pid), redis: cpuMs(redis.pid) })
    return use({ server, redis, submitter, serverCpuMs })
  })
}

interface Part {
  stop(): Promise<void>
}

async function withParts<T>(use: (started: <P extends Part>(part: P) => P) => Promise<T>): Promise<T> {
  const parts: Part[] = []
  try {
    return await use(part => {
      parts.push(part)
      return part
    })
  } finally {
    await Promise.all(parts.map(part => part.stop()))
  }
}

/** The path of a built module of the benchmark. */
export function script(path: string): string {
  return join(projectRoot(), 'dist/bench', path)
}

/** Which Redis the workloads run on. Throws where its CPU time can't be measured. */
export async function redisVersion(): Promise<string> {
  const redis = await startRedis()
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

/** As shipped: AOF, flushed once a second. In one place, so that a second benchmark at once is refused. */
async function startRedis(): Promise<EmbeddedRedis> {
  const dir = join(projectRoot(), '.millrace/bench-redis')
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

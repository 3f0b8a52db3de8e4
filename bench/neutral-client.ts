// The second opinion: `sseload` and `ssepub`, a load client in C that is not part of this project. Used when
// MILLRACE_LOADGEN names its folder.

import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { projectRoot } from '../dev/project-root.ts'
import { type Load, PUBLISH_PATH, WATCH_PATH } from './deliver.ts'
import { measured } from './measured.ts'
import type { DeliveryStage } from './stage.ts'
import type { Run, RunContext, Turns } from './workload.ts'

const execute = promisify(execFile)

const BODY = '{"type":"m","data":{"seq":{seq},"t":{t},"p":{p},"pad":"{pad}"}}'
const READY = 'ready'
const STEP_MS = 20
const RUN_TIMEOUT_MS = 120_000

/** The folder of the built client: that one, or a build of it in `.millrace`. */
export async function neutralClient(folder: string): Promise<string> {
  if (existsSync(join(folder, 'sseload'))) return folder
  const built = join(projectRoot(), '.millrace/bench-loadgen')
  await mkdir(built, { recursive: true })
  await execute('make', ['-C', folder, `OUT=${built}`])
  return built
}

/** The load of {@link deliver}, without a warm-up: this client counts from its first event. */
export async function* neutralDeliver(
  folder: string,
  stage: DeliveryStage,
  load: Load,
  context: RunContext,
): Turns {
  yield await inFolder(async dir => {
    const published = join(dir, 'published')
    const status = ['--status', join(dir, 'status')]
    const { result: seen, cpu } = await measured(stage, context, async () => {
      const watching = watch(folder, stage, dir, [
        ...['--channels', load.channels, '--conns', load.viewers, '--publishers', load.publishers],
        ...['--stop-file', published, ...status],
      ])
      await untilReady(dir, watching)
      const { rate, window } = load.publish
      await publish(folder, stage, [
        ...['--channels', load.channels, '--conns', load.publishers, '--pad', load.padding],
        ...['--duration', context.scale.measureMs / 1000, '--expect-file', published],
        ...(rate ? ['--rate', rate] : []),
        ...(window ? ['--window', window, '--fanout', load.viewers, ...status] : []),
      ])
      return watching
    })
    return runOf(seen, {
      eventsPerSecond: seen.events_per_s,
      p50Ms: seen.latency_ms.p50,
      p99Ms: seen.latency_ms.p99,
      cpuUsPerEvent: (cpu.serverUs + cpu.redisUs) / seen.tracked,
    })
  })
}

/** Viewers drop themselves at the first event, and come back together when all others are in the log. */
export async function* neutralStorm(
  folder: string,
  stage: DeliveryStage,
  { viewers, events, padding }: { viewers: number; events: number; padding: number },
): Turns {
  yield await inFolder(async dir => {
    const go = join(dir, 'go')
    const watching = watch(folder, stage, dir, [
      ...['--conns', viewers, '--storm', 1, '--storm-go', go, '--stop-file', go],
    ])
    await untilReady(dir, watching)
    await publish(folder, stage, ['--count', 1, '--pad', padding])
    await publish(folder, stage, [
      ...['--count', events, '--seq-start', 2, '--pad', padding, '--expect-file', go],
    ])
    const seen = await watching
    const { replay_per_s, caught_up_s } = seen.storm!
    return runOf(seen, { eventsPerSecond: replay_per_s, wholeMs: caught_up_s * 1000 })
  })
}

/** What `sseload` prints, as far as it is used here. */
interface Summary {
  readonly expected: number
  readonly tracked: number
  readonly missing: number
  readonly duplicates: number
  readonly out_of_order: number
  readonly disconnects: number
  readonly events_per_s: number
  readonly latency_ms: { readonly p50: number; readonly p99: number }
  readonly storm?: { readonly replay_per_s: number; readonly caught_up_s: number }
  readonly client_saturated: boolean
}

function runOf(seen: Summary, figures: Run['figures']): Run {
  const delivery = {
    expected: seen.expected,
    received: seen.tracked,
    missing: seen.missing,
    doubled: seen.duplicates,
    reordered: seen.out_of_order,
    gaps: 0,
    closed: seen.disconnects,
  }
  return { figures, delivery, limits: seen.client_saturated ? ['the neutral load client'] : [] }
}

async function watch(folder: string, { server }: DeliveryStage, dir: string, more: (string | number)[]) {
  const path = ['--path', WATCH_PATH, '--ready-file', join(dir, READY), '--rate', 0]
  const text = await execute(join(folder, 'sseload'), ['--port', server.port, ...path, ...more].map(String), {
    timeout: RUN_TIMEOUT_MS,
  })
  return JSON.parse(text.stdout) as Summary
}

async function publish(folder: string, { server }: DeliveryStage, more: (string | number)[]): Promise<void> {
  const common = ['--port', server.port, '--path', PUBLISH_PATH, '--body', BODY]
  const { stdout } = await execute(join(folder, 'ssepub'), [...common, ...more].map(String), {
    timeout: RUN_TIMEOUT_MS,
  })
  const { non2xx, errors, last_code } = JSON.parse(stdout)
  if (non2xx + errors > 0) throw new Error(`a publish of the neutral client failed (status ${last_code})`)
}

async function inFolder<T>(use: (dir: string) => Promise<T>): Promise<T> {
  const dir = await mkdtemp(join(tmpdir(), 'millrace-bench-'))
  try {
    return await use(dir)
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}

/** Resolves when all viewers are connected; rejects when the client ends before. */
async function untilReady(dir: string, watching: Promise<unknown>): Promise<void> {
  let ended = false
  const end = () => {
    ended = true
  }
  watching.then(end, end)
  while (!existsSync(join(dir, READY))) {
    if (ended) throw new Error('the neutral client ended before it had connected its viewers')
    await delay(STEP_MS)
  }
}

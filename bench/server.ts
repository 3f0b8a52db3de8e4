// A server under test as a process of its own: a gateway or worker as it ships, or one of the references.

import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { projectRoot } from '../dev/project-root.ts'
import { endChild } from './command-process.ts'
import { residentBytes } from './process-usage.ts'
import type { ControlRequest } from './server-control.ts'

export type ServerKind =
  | 'gateway'
  | 'raw-http'
  | 'raw-redis'
  | 'raw-queue'
  | 'bare-write'
  | 'bare-publish'
  | 'worker'
  | 'bare-bullmq'

const SCRIPTS: Record<ServerKind, string> = {
  gateway: 'dist/gateway/main.js',
  'raw-http': 'dist/bench/reference/raw-http.js',
  'raw-redis': 'dist/bench/reference/raw-redis.js',
  'raw-queue': 'dist/bench/reference/raw-queue.js',
  'bare-write': 'dist/bench/reference/bare-write.js',
  'bare-publish': 'dist/bench/reference/bare-publish.js',
  worker: 'dist/worker/main.js',
  'bare-bullmq': 'dist/bench/reference/bare-bullmq.js',
}

const WITHOUT_REDIS: ReadonlySet<ServerKind> = new Set(['raw-http', 'bare-write'])

const START_TIMEOUT_MS = 20_000

/** Garbage is collected this often, so that what is freed late is freed too. */
const COLLECTIONS = 6
const COLLECTION_PAUSE_MS = 250

export class BenchServer {
  /** 0 where nothing listens. */
  readonly port: number
  /** Of metrics and health; null where there is none. */
  readonly opsUrl: string | null
  readonly usesRedis: boolean
  readonly #child: ChildProcess

  private constructor(kind: ServerKind, child: ChildProcess, ready: { url?: string; opsUrl?: string }) {
    this.#child = child
    this.usesRedis = !WITHOUT_REDIS.has(kind)
    this.port = ready.url ? Number(new URL(ready.url).port) : 0
    this.opsUrl = ready.opsUrl ?? null
  }

  /** Resolves when it is ready. All kinds are started alike, with the same flags. */
  static async start(
    kind: ServerKind,
    redisUrl: string,
    env: Record<string, string> = {},
  ): Promise<BenchServer> {
    const control = pathToFileURL(join(projectRoot(), 'dist/bench/server-control.js')).href
    const child = fork(join(projectRoot(), SCRIPTS[kind]), [redisUrl], {
      // Nothing else of this process's environment: configured as shipped.
      env: { REDIS_URL: redisUrl, PORT: '0', MILLRACE_OPS_PORT: '0', ...env },
      execArgv: ['--enable-source-maps', '--expose-gc', '--import', control],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    const timer = setTimeout(() => child.kill('SIGKILL'), START_TIMEOUT_MS)
    const failed = once(child, 'exit').then(([code]) => {
      throw new Error(`${kind} ended with ${code} before it was ready`)
    })
    const [ready] = await Promise.race([once(child, 'message'), failed])
    failed.catch(() => undefined)
    clearTimeout(timer)
    return new BenchServer(kind, child, ready)
  }

  get pid(): number {
    return this.#child.pid!
  }

  get residentBytes(): number {
    return residentBytes(this.pid)
  }

  /** Resident memory after collecting garbage until there is none left to collect. */
  async residentBytesAfterGc(): Promise<number> {
    for (let i = 0; i < COLLECTIONS; i++) {
      await this.#control({ bench: 'gc' })
      await new Promise(resolve => setTimeout(resolve, COLLECTION_PAUSE_MS))
    }
    return this.residentBytes
  }

  /** From here until {@link endProfile} a CPU profile is taken. */
  async startProfile(): Promise<void> {
    await this.#control({ bench: 'profile' })
  }

  async endProfile(file: string): Promise<void> {
    await this.#control({ bench: 'profiled', file })
  }

  /** At once: draining thousands of viewers would take its time and shows nothing. */
  stop(): Promise<void> {
    return endChild(this.#child)
  }

  /** Resolves when the server has done it; rejects when it ends before. */
  async #control(request: ControlRequest): Promise<void> {
    const ended = new AbortController()
    const onExit = () => ended.abort(new Error('the server under test ended'))
    this.#child.once('exit', onExit)
    try {
      this.#child.send(request)
      for (let done = false; !done; ) {
        const [answer] = await once(this.#child, 'message', { signal: ended.signal })
        done = (answer as Partial<ControlRequest>).bench === request.bench
      }
    } finally {
      this.#child.off('exit', onExit)
    }
  }
}

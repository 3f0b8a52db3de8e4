/** A real Redis server of our own, as a child process, with its data in a folder. For `npm start` and tests. */
import { mkdirSync, realpathSync } from 'node:fs'
import { join } from 'node:path'
import { findRedis } from './find-redis.ts'
import { freePort } from './free-port.ts'
import { projectRoot } from './project-root.ts'
import { launchRedis, type RedisProcess } from './redis-process.ts'
import { untilReady } from './redis-ready.ts'
import type { RedisLaunch, RedisServer } from './redis-server.ts'

const STOP_TIMEOUT_MS = 15_000
const PORT_ATTEMPTS = 5

export interface EmbeddedRedisOptions {
  /** The data directory; made if it isn't there. One server at a time. */
  dir: string
  /** On 127.0.0.1; a free one unless given. */
  port?: number
  /** Default `everysec`. */
  appendFsync?: 'everysec' | 'always'
  /** Further Redis settings, which win over ours. */
  settings?: Record<string, string>
  /** Where a downloaded server is kept; `.millrace` in the project unless given. */
  cacheDir?: string
  /** Where to look for programs (PATH). Default: this process's own environment. */
  env?: NodeJS.ProcessEnv
  /** Breaks off a search, a download or a start. */
  signal?: AbortSignal | undefined
  /** Told in words before a download. */
  onProgress?: (line: string) => void
  /** Each line that the server prints. */
  onOutput?: (line: string) => void
}

export interface EmbeddedRedis {
  readonly url: string
  readonly port: number
  /** Of the current process (of the docker client, where Redis runs in a container). */
  readonly pid: number
  /** For people: which server it is and where it came from. */
  readonly source: string
  /** Resolves when the current process is gone, whatever the reason, with how it ended in words. */
  readonly exited: Promise<string>
  /** Ends it cleanly: SIGTERM, and after 15 s SIGKILL. Nothing happens if it isn't running. */
  stop(): Promise<void>
  /** SIGKILL, for crash tests. Resolves when it is gone. */
  kill(): Promise<void>
  /** Starts it again on the same port and data directory; stops it first if it runs. */
  restart(): Promise<void>
}

/** Resolves when Redis answers. Rejects with one line: nothing to run, directory in use, or why it ended. */
export async function startEmbeddedRedis(options: EmbeddedRedisOptions): Promise<EmbeddedRedis> {
  const server = await findRedis({
    cacheDir: options.cacheDir ?? join(projectRoot(), '.millrace'),
    env: options.env ?? process.env,
    signal: options.signal,
    onProgress: options.onProgress ?? (() => {}),
  })
  mkdirSync(options.dir, { recursive: true })
  const dir = realpathSync(options.dir)
  const run = (port: number) => runOn(server, { dir, port, settings: settingsFor(options) }, options)
  const { port, child } = options.port
    ? { port: options.port, child: await run(options.port) }
    : await onFreePort(run)
  return new RunningRedis(server.source, port, run, child)
}

function settingsFor(options: EmbeddedRedisOptions): Record<string, string> {
  return {
    appendonly: 'yes',
    appendfsync: options.appendFsync ?? 'everysec',
    save: '',
    'maxmemory-policy': 'noeviction',
    // A stream with one small entry would cost 4 KB otherwise.
    'stream-node-max-bytes': '1024',
    'hash-max-listpack-value': '1024',
    ...options.settings,
  }
}

async function runOn(
  server: RedisServer,
  launch: RedisLaunch,
  { signal, onOutput = () => {} }: EmbeddedRedisOptions,
): Promise<RedisProcess> {
  const child = launchRedis(server, launch, onOutput)
  try {
    await untilReady(urlOf(launch.port), child, signal)
    return child
  } catch (error) {
    await child.kill()
    await child.exited
    throw error
  }
}

/** A port that was free a moment ago may have been taken since. */
async function onFreePort(run: (port: number) => Promise<RedisProcess>) {
  for (let attempt = 1; ; attempt++) {
    const port = await freePort()
    try {
      return { port, child: await run(port) }
    } catch (error) {
      const taken = /already in use|already allocated|failed listening/i.test((error as Error).message)
      if (!taken || attempt === PORT_ATTEMPTS) throw error
    }
  }
}

function urlOf(port: number): string {
  return `redis://127.0.0.1:${port}`
}

class RunningRedis implements EmbeddedRedis {
  readonly source: string
  readonly port: number
  readonly url: string
  #run: (port: number) => Promise<RedisProcess>
  #child: RedisProcess

  constructor(
    source: string,
    port: number,
    run: (port: number) => Promise<RedisProcess>,
    child: RedisProcess,
  ) {
    this.source = source
    this.port = port
    this.url = urlOf(port)
    this.#run = run
    this.#child = child
  }

  get pid(): number {
    return this.#child.pid
  }

  get exited(): Promise<string> {
    return this.#child.exited
  }

  async stop(): Promise<void> {
    const child = this.#child
    if (child.isRunning()) child.terminate()
    const hard = setTimeout(() => void child.kill(), STOP_TIMEOUT_MS)
    await child.exited
    clearTimeout(hard)
  }

  async kill(): Promise<void> {
    if (this.#child.isRunning()) await this.#child.kill()
    await this.#child.exited
  }

  async restart(): Promise<void> {
    await this.stop()
    this.#child = await this.#run(this.port)
  }
}

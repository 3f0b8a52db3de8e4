/** What a Redis server on this machine is: how to run it, and whether its version will do. */
import { runCommand } from './run-command.ts'

/** `bind` entries and modules differ between a local binary and a container, so each source builds its own. */
export interface RedisServer {
  /** For people: which server this is and where it came from. */
  source: string
  command: (launch: RedisLaunch) => string[]
  env: NodeJS.ProcessEnv
  /** Ends it at once. Only for servers that are not the child process itself. */
  kill?: (launch: RedisLaunch) => Promise<unknown>
}

export interface RedisLaunch {
  /** Absolute path of the data directory. */
  dir: string
  port: number
  settings: Record<string, string>
}

/** What every source of a Redis server is given. */
export interface RedisSearch {
  /** Where a downloaded server is kept. */
  cacheDir: string
  env: NodeJS.ProcessEnv
  signal?: AbortSignal | undefined
  /** Told before something that takes a while. */
  onProgress: (line: string) => void
}

const OLDEST_MAJOR = 7
const VERSION_TIMEOUT_MS = 10_000

/** The version of a `redis-server` or `valkey-server`. Rejects if it doesn't run or is too old. */
export async function checkVersion(binary: string, env: NodeJS.ProcessEnv): Promise<string> {
  const text = await runCommand(binary, ['--version'], { env, timeoutMs: VERSION_TIMEOUT_MS })
  const version = /\bv=(\d+(?:\.\d+)*)/.exec(text)?.[1]
  if (!version) throw new Error(`${binary} says no version`)
  if (Number.parseInt(version, 10) < OLDEST_MAJOR) {
    throw new Error(`${binary} is version ${version}, older than ${OLDEST_MAJOR}`)
  }
  return version
}

/** A server that runs as a plain program on this machine, reachable from nowhere else. */
export function localServer(binary: string, env: NodeJS.ProcessEnv, source: string): RedisServer {
  const command = ({ port, settings }: RedisLaunch) => [
    binary,
    ...settingArguments({ bind: '127.0.0.1', 'protected-mode': 'yes', port: String(port), ...settings }),
  ]
  return { source, env, command }
}

/** Redis settings as command line arguments. */
export function settingArguments(settings: Record<string, string>): string[] {
  return Object.entries(settings).flatMap(([name, value]) => [`--${name}`, ...value.split(' ')])
}

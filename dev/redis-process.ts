/** One run of a Redis server as a child process that never outlives its parent, however that one ends. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Duplex, Readable } from 'node:stream'
import { claimDataDir, releaseDataDir } from './data-dir-claim.ts'
import type { RedisLaunch, RedisServer } from './redis-server.ts'

/**
 * Waits for one line on file descriptor 3 (the data directory is claimed), leaves a keeper behind and becomes
 * the server, with the same process id. The keeper reads descriptor 3, whose other end the parent holds: at
 * its end, even after a SIGKILL of the parent, it ends the server. As it is in the server's process group, the
 * server's id can't come back as another process while the keeper lives.
 */
const LAUNCHER = `
read -r go <&3 || exit 0
(
  PATH=$PATH:/usr/bin:/bin
  while read -r line <&3; do :; done
  kill -TERM $$
  for second in 1 2 3 4 5 6 7 8 9 10; do sleep 1; kill -0 $$ || exit 0; done
  kill -KILL $$
) >/dev/null 2>&1 &
exec "$@" 3<&-
`

export interface RedisProcess {
  readonly pid: number
  /** What it printed last, '' at first. */
  readonly lastLine: () => string
  /** Resolves when it is gone, with how it ended in words. */
  readonly exited: Promise<string>
  readonly isRunning: () => boolean
  readonly terminate: () => void
  readonly kill: () => Promise<void>
}

/** Throws if another server has the data directory. The server may still be starting, or fail to. */
export function launchRedis(
  server: RedisServer,
  launch: RedisLaunch,
  onOutput: (line: string) => void,
): RedisProcess {
  // A process group of its own: a terminal's Ctrl-C is not for Redis, it goes last.
  const child = spawn('/bin/sh', ['-c', LAUNCHER, 'millrace-redis', ...server.command(launch)], {
    cwd: launch.dir,
    env: server.env,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  })
  const pid = child.pid
  if (pid === undefined) throw new Error('/bin/sh could not be started')
  const parentEnd = child.stdio[3] as Duplex
  // It breaks when the server ends first, and that is told by `exited`.
  parentEnd.on('error', () => {})
  const exited = endOf(child, pid, parentEnd, launch.dir)
  let lastLine = ''
  forEachLine(child, line => {
    lastLine = line
    onOutput(line)
  })

  try {
    claimDataDir(launch.dir, pid)
  } catch (error) {
    child.kill('SIGKILL')
    throw error
  }
  parentEnd.write('go\n')
  return {
    pid,
    lastLine: () => lastLine,
    exited,
    isRunning: () => child.exitCode === null && child.signalCode === null,
    terminate: () => void child.kill('SIGTERM'),
    kill: async () => {
      await server.kill?.(launch)
      child.kill('SIGKILL')
    },
  }
}

function forEachLine(child: ChildProcess, onLine: (line: string) => void): void {
  for (const output of [child.stdout, child.stderr] as Readable[]) {
    createInterface({ input: output }).on('line', onLine)
  }
}

function endOf(child: ChildProcess, pid: number, parentEnd: Duplex, dir: string): Promise<string> {
  return new Promise(resolve => {
    child.once('error', error => resolve(error.message))
    child.once('exit', () => {
      endKeeper(pid)
      parentEnd.destroy()
      releaseDataDir(dir, pid)
    })
    // `close` follows when all of its output has been read, so that the last line is known.
    child.once('close', (code, signal) => resolve(signal ? `ended by ${signal}` : `ended with code ${code}`))
  })
}

function endKeeper(group: number): void {
  try {
    process.kill(-group, 'SIGKILL')
  } catch {
    // It never got as far as a keeper.
  }
}

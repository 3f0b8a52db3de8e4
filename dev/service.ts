/** One of Millrace's own processes as a child: says when it is ready and how it ended. */
import { type ChildProcess, fork } from 'node:child_process'
import { constants } from 'node:os'
import { terminalOutput } from './terminal-log.ts'

/** What a gateway or a worker sends when it is ready. */
export interface ReadyMessage {
  ready: true
  url?: string
  opsUrl?: string
  types?: string[]
}

export interface Service {
  readonly name: string
  /** Never resolves if it ends before it is ready. */
  readonly ready: Promise<ReadyMessage>
  /** Resolves with its exit code, 128 + n after signal n. */
  readonly exited: Promise<number>
  /** Asks it to drain and end. */
  terminate(): void
  kill(): void
}

/** The child ends by itself when this process goes, as it then loses the IPC channel. */
export function startService(name: string, script: string, env: NodeJS.ProcessEnv): Service {
  const output = terminalOutput()
  const child = fork(script, [], {
    env,
    execArgv: ['--enable-source-maps'],
    // A process group of its own: a terminal's Ctrl-C comes to us alone, and we end all parts in order.
    detached: true,
    stdio: ['ignore', output ? 'pipe' : 'inherit', 'inherit', 'ipc'],
  })
  if (output) child.stdout?.pipe(output)
  return {
    name,
    ready: readiness(child),
    exited: exitCode(child),
    terminate: () => void child.kill('SIGTERM'),
    kill: () => void child.kill('SIGKILL'),
  }
}

function readiness(child: ChildProcess): Promise<ReadyMessage> {
  return new Promise(resolve => {
    child.on('message', message => {
      if ((message as ReadyMessage | null)?.ready) resolve(message as ReadyMessage)
    })
  })
}

function exitCode(child: ChildProcess): Promise<number> {
  return new Promise(resolve => {
    child.once('error', () => resolve(1))
    child.once('exit', (code, signal) => resolve(signal ? 128 + constants.signals[signal] : (code ?? 1)))
  })
}

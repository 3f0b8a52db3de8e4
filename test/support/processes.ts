/**
 * Gateways and workers as real processes, built from dist/. Those that a test does not stop are killed when the
 * test file ends.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { afterAll } from '@jest/globals'
import { projectRoot } from '../../dev/project-root.ts'

const START_TIMEOUT_MS = 20_000
/** Of the output, the end is kept. */
const MAX_OUTPUT_CHARS = 1_000_000

export interface StartOptions {
  redisUrl: string
  /** Further environment. Ports are free ones and the log is at `info` unless this says otherwise. */
  env?: Record<string, string>
}

export interface TestProcess {
  /** Of the ops port. */
  readonly opsUrl: string
  readonly pid: number
  /** SIGTERM; resolves with the exit code when it is gone, null after a signal. */
  stop(): Promise<number | null>
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void>
  /** What it has printed so far on stdout and stderr. */
  output(): string
}

export interface TestGateway extends TestProcess {
  /** Of the HTTP API. */
  readonly url: string
}

/** How a process ended that was meant to start. */
class EarlyExit extends Error {
  readonly code: number | null
  readonly stderr: string

  constructor(script: string, code: number | null, stderr: string) {
    super(`${script} ended with ${code} before it was ready: ${stderr}`)
    this.code = code
    this.stderr = stderr
  }
}

/** Resolves when it listens, whether Redis is there or not. Rejects with {@link EarlyExit}. */
export async function startGateway(options: StartOptions): Promise<TestGateway> {
  const { ready, handle } = await start('dist/gateway/main.js', options)
  return Object.assign(handle, { url: ready.url ?? '' })
}

/** Resolves when it takes tasks. Rejects with {@link EarlyExit}. */
export async function startWorker(options: StartOptions): Promise<TestProcess> {
  return (await start('dist/worker/main.js', options)).handle
}

interface Ready {
  ready?: true
  url?: string
  opsUrl?: string
}

const children = new Set<ChildProcess>()

afterAll(async () => {
  await Promise.all([...children].map(child => end(child, 'SIGKILL')))
})

async function start(script: string, { redisUrl, env }: StartOptions) {
  const child = fork(join(projectRoot(), script), [], {
    // Nothing else of this process's environment, so that a test says all that matters.
    env: {
      PATH: process.env.PATH,
      PORT: '0',
      MILLRACE_OPS_PORT: '0',
      LOG_LEVEL: 'info',
      REDIS_URL: redisUrl,
      ...env,
    },
    execArgv: ['--enable-source-maps'],
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  })
  children.add(child)
  child.once('exit', () => children.delete(child))
  const output = collect(child)
  const ready = await readiness(child, script, output)
  const handle = {
    opsUrl: ready.opsUrl ?? '',
    pid: child.pid!,
    stop: () => end(child, 'SIGTERM'),
    kill: async () => {
      await end(child, 'SIGKILL')
    },
    output: () => output.all,
  }
  return { ready, handle }
}

function collect(child: ChildProcess): { all: string; stderr: string } {
  const output = { all: '', stderr: '' }
  const keep = (text: string) => text.slice(-MAX_OUTPUT_CHARS)
  child.stdout?.setEncoding('utf8').on('data', text => {
    output.all = keep(output.all + text)
  })
  child.stderr?.setEncoding('utf8').on('data', text => {
    output.all = keep(output.all + text)
    output.stderr = keep(output.stderr + text)
  })
  return output
}

function readiness(child: ChildProcess, script: string, output: { stderr: string; all: string }) {
  return new Promise<Ready>((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill('SIGKILL')
      reject(new Error(`${script} was not ready within ${START_TIMEOUT_MS} ms: ${output.all}`))
    }, START_TIMEOUT_MS)
    child.on('message', message => {
      if (!(message as Ready).ready) return
      clearTimeout(timer)
      resolve(message as Ready)
    })
    // 'close' comes after the last output, other than 'exit'.
    child.once('close', code => {
      clearTimeout(timer)
      reject(new EarlyExit(script, code, output.stderr))
    })
    child.once('error', error => {
      clearTimeout(timer)
      reject(error)
    })
  })
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) {
    const gone = once(child, 'exit')
    child.kill(signal)
    await gone
  }
  return child.exitCode
}

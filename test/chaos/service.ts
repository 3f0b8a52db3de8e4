// A gateway or a worker as a real process, built from dist/, that can be ended, frozen and started again. What
// it prints goes to a file, over all of its lives.

import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { projectRoot } from '../../dev/project-root.ts'
import { freezeProcess } from './freeze.ts'

const START_TIMEOUT_MS = 30_000

export interface ServiceOptions {
  /** `gateway 2`: for people. */
  readonly name: string
  readonly script: 'dist/gateway/main.js' | 'dist/worker/main.js'
  readonly env: Record<string, string>
  readonly logFile: string
  /** Told in words of an end that nobody asked for, and of one that was not clean. */
  readonly onSurprise: (text: string) => void
}

interface Ready {
  readonly ready?: true
  readonly url?: string
  readonly opsUrl: string
}

export class Service {
  readonly name: string
  readonly #options: ServiceOptions
  #child: ChildProcess | null = null
  #ready: Ready | null = null

  constructor(options: ServiceOptions) {
    this.name = options.name
    this.#options = options
  }

  /** Of the HTTP API; null while it is not up or about to stop. */
  get url(): string | null {
    return this.#ready?.url ?? null
  }

  get opsUrl(): string | null {
    return this.#ready?.opsUrl ?? null
  }

  get pid(): number | null {
    return this.#child?.pid ?? null
  }

  /** Resolves when it does its work. */
  async start(): Promise<void> {
    const child = this.#fork()
    this.#child = child
    child.once('exit', (code, signal) => {
      if (this.#child !== child) return
      this.#gone()
      this.#options.onSurprise(`${this.name} ended by itself: ${signal ?? `exit code ${code}`}`)
    })
    const deadline = AbortSignal.timeout(START_TIMEOUT_MS)
    const ready = once(child, 'message', { signal: deadline })
    const exit = once(child, 'exit', { signal: deadline }).then(() => null)
    const message = await Promise.race([ready, exit])
    if (this.#child === child && message) this.#ready = message[0] as Ready
  }

  /** Resolves when it is gone. */
  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const child = this.#child
    this.#gone()
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const exit = once(child, 'exit') as Promise<[number | null]>
    child.kill(signal)
    const [code] = await exit
    if (signal === 'SIGTERM' && code !== 0) {
      this.#options.onSurprise(`${this.name} was told to stop and ended with exit code ${code}`)
    }
  }

  /** It does not run for this long, and nobody is told. */
  async freeze(durationMs: number): Promise<void> {
    const pid = this.#child?.pid
    if (pid !== undefined) await freezeProcess(pid, durationMs)
  }

  #fork(): ChildProcess {
    const { script, env, logFile } = this.#options
    const log = openSync(logFile, 'a')
    const child = fork(join(projectRoot(), script), [], {
      env: { PATH: process.env.PATH, ...env },
      execArgv: ['--enable-source-maps'],
      // A process group of its own: a terminal's Ctrl-C is for the run, which then ends its processes.
      detached: true,
      stdio: ['ignore', log, log, 'ipc'],
    })
    closeSync(log)
    return child
  }

  #gone(): void {
    this.#child = null
    this.#ready = null
  }
}

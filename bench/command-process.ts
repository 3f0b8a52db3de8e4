// Child processes of the benchmark that do what they are told over IPC. Both ends: who tells, and who does.

import { type ChildProcess, fork } from 'node:child_process'

/** What a process can be told to do, by name; one argument and an answer, both as JSON. */
// biome-ignore lint/suspicious/noExplicitAny: each process has commands of its own
export type Commands = Record<string, (argument: any) => unknown>

interface Request {
  readonly id: number
  readonly command: string
  readonly argument: unknown
}

interface Answer {
  readonly id: number
  readonly result?: unknown
  readonly error?: string
}

/** What a process says without being asked. */
interface Notice {
  readonly notice: number
}

/** No command takes longer. */
const COMMAND_TIMEOUT_MS = 120_000

/** A process that serves commands. It ends with its parent. */
export class CommandProcess<C extends Commands> {
  readonly #child: ChildProcess
  readonly #name: string
  readonly #waiting = new Map<number, { resolve(result: unknown): void; reject(error: Error): void }>()
  #lastId = 0
  /** Called with each number that the process gives notice of. */
  onNotice: (value: number) => void = () => undefined

  /** `script` is the path of a module that calls {@link serveCommands}. */
  constructor(name: string, script: string) {
    this.#name = name
    this.#child = fork(script, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    this.#child.on('message', message => this.#receive(message as Answer | Notice))
    this.#child.on('exit', code => this.#failAll(new Error(`${name} ended with ${code}`)))
    this.#child.on('error', error => this.#failAll(error))
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** Rejects with the error of the command, when the process ends, and after two minutes. */
  async call<K extends keyof C & string>(
    command: K,
    ...[argument]: Parameters<C[K]>
  ): Promise<Awaited<ReturnType<C[K]>>> {
    const id = ++this.#lastId
    let timer: NodeJS.Timeout | undefined
    try {
      return await new Promise((resolve, reject) => {
        this.#waiting.set(id, { resolve: resolve as (result: unknown) => void, reject })
        const late = new Error(`${this.#name} did not answer ${command} within ${COMMAND_TIMEOUT_MS} ms`)
        timer = setTimeout(reject, COMMAND_TIMEOUT_MS, late)
        this.#child.send({ id, command, argument } satisfies Request)
      })
    } finally {
      clearTimeout(timer)
      this.#waiting.delete(id)
    }
  }

  /** Tells without waiting for an answer; a process that is just ending needs to know nothing. */
  tell(value: number): void {
    if (this.#child.connected) this.#child.send({ notice: value } satisfies Notice, () => undefined)
  }

  stop(): Promise<void> {
    return endChild(this.#child)
  }

  #receive(message: Answer | Notice): void {
    if ('notice' in message) {
      this.onNotice(message.notice)
      return
    }
    const { resolve, reject } = this.#waiting.get(message.id) ?? {}
    if (message.error === undefined) resolve?.(message.result)
    else reject?.(new Error(message.error))
  }

  #failAll(error: Error): void {
    for (const { reject } of this.#waiting.values()) reject(error)
  }
}

/** Kills a process at once; resolves when it is gone. */
export async function endChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  // Not `once` of node:events, which rejects when a last message to the process can't be written.
  const gone = new Promise<void>(resolve => child.once('exit', () => resolve()))
  child.kill('SIGKILL')
  await gone
}

/** Serves commands of the parent until that one goes. `onNotice` hears what it tells. */
export function serveCommands(commands: Commands, onNotice: (value: number) => void = () => undefined): void {
  process.on('disconnect', () => process.exit())
  process.on('message', (message: Request | Notice) => {
    if ('notice' in message) onNotice(message.notice)
    else void serve(commands, message)
  })
}

/** Gives notice of a number to the parent. */
export function giveNotice(value: number): void {
  process.send?.({ notice: value } satisfies Notice)
}

async function serve(commands: Commands, { id, command, argument }: Request): Promise<void> {
  const answer: Answer = await Promise.resolve()
    .then(() => commands[command]?.(argument))
    .then(
      result => ({ id, result }),
      (error: Error) => ({ id, error: error.message }),
    )
  process.send?.(answer)
}

/** Runs one short-lived program and collects what it printed. Owns no policy: callers set the limits. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const execute = promisify(execFile)
const MAX_OUTPUT_BYTES = 4 * 1024 * 1024

export interface CommandOptions {
  env: NodeJS.ProcessEnv
  timeoutMs: number
  cwd?: string
  signal?: AbortSignal | undefined
}

/** Resolves with stdout. Rejects with a one-line Error made of the program's last line on stderr. */
export async function runCommand(command: string, args: string[], options: CommandOptions): Promise<string> {
  const { timeoutMs, ...rest } = options
  try {
    const { stdout } = await execute(command, args, {
      ...rest,
      timeout: timeoutMs,
      maxBuffer: MAX_OUTPUT_BYTES,
      encoding: 'utf8',
    })
    return stdout
  } catch (error) {
    throw new Error(explain(command, timeoutMs, error as CommandFailure), { cause: error })
  }
}

interface CommandFailure extends Error {
  code?: string | number
  killed?: boolean
  stderr?: string
}

function explain(command: string, timeoutMs: number, error: CommandFailure): string {
  if (error.code === 'ENOENT') return `${command} is not installed`
  if (error.name === 'AbortError') return `${command} was interrupted`
  if (error.killed) return `${command} took longer than ${timeoutMs / 1000} s`
  const lastLine = error.stderr?.trim().split('\n').at(-1)?.replace(/^E: /, '')
  return `${command}: ${lastLine || `exit code ${error.code}`}`
}

/** What the container tests need of Docker: whether an engine answers, the image, and its command line. */

import { describe } from '@jest/globals'
import { projectRoot } from '../../dev/project-root.ts'
import { type CommandOptions, runCommand } from '../../dev/run-command.ts'

const ENGINE_TIMEOUT_MS = 20_000
const COMMAND_TIMEOUT_MS = 600_000

/** Runs `docker …` in the project's folder; resolves with stdout. */
export function docker(args: string[], options: Partial<CommandOptions> = {}): Promise<string> {
  return runCommand('docker', args, {
    env: process.env,
    cwd: projectRoot(),
    timeoutMs: COMMAND_TIMEOUT_MS,
    ...options,
  })
}

/** Why no container can run here, or undefined if one can. */
async function missingDocker(): Promise<string | undefined> {
  try {
    await docker(['version', '--format', '{{.Server.Version}}'], { timeoutMs: ENGINE_TIMEOUT_MS })
    await docker(['compose', 'version'], { timeoutMs: ENGINE_TIMEOUT_MS })
    return undefined
  } catch (error) {
    return `no Docker engine with Compose answers: ${(error as Error).message}`
  }
}

const missing = await missingDocker()

/** Says why in its name where it has to skip, and aloud, since Jest does not list a file that it skips whole. */
export function describeInDocker(name: string, suite: () => void): void {
  if (missing === undefined) return void describe(name, suite)
  const skipped = `${name} (skipped: ${missing})`
  process.stderr.write(`${skipped}\n`)
  describe.skip(skipped, suite)
}

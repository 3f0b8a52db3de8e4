/** Runs a small program of a test's own as a real process, for what a test can't do to itself: being killed. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { projectRoot } from '../../dev/project-root.ts'

export interface RunningScript {
  readonly child: ChildProcess
  /** All that it has printed so far, stdout and stderr. */
  output(): string
  /** Resolves as soon as the output matches. Rejects, with all of the output, if the script ends before. */
  untilOutput(pattern: RegExp): Promise<RegExpMatchArray>
  /** Resolves with the exit code, or the signal's name. */
  readonly ended: Promise<number | NodeJS.Signals | null>
}

/** The address of a built module of the project, for an import in a script. */
export function builtModule(path: string): string {
  const file = join(projectRoot(), 'dist', path)
  if (!existsSync(file)) throw new Error(`${file} is missing: run npm run build first`)
  return pathToFileURL(file).href
}

export async function runScript(dir: string, code: string, env: NodeJS.ProcessEnv): Promise<RunningScript> {
  const file = join(dir, 'script.mjs')
  await writeFile(file, code)
  return watch(spawn(process.execPath, [file], { env, stdio: ['ignore', 'pipe', 'pipe'] }))
}

export function watch(child: ChildProcess): RunningScript {
  let text = ''
  const ended = once(child, 'close').then(([code, signal]) => code ?? signal)
  child.stdout?.on('data', chunk => (text += chunk))
  child.stderr?.on('data', chunk => (text += chunk))
  const untilOutput = (pattern: RegExp) =>
    new Promise<RegExpMatchArray>((resolve, reject) => {
      const look = () => {
        const match = text.match(pattern)
        if (match) resolve(match)
      }
      child.stdout?.on('data', look)
      child.stderr?.on('data', look)
      void ended.then(how => reject(new Error(`ended with ${how} before ${pattern}:\n${text}`)))
      look()
    })
  return { child, output: () => text, untilOutput, ended }
}

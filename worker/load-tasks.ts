// Loads the handler modules of a folder and checks them. Any fault stops the caller with one line that names the
// file: a worker that silently lacks a handler would leave tasks waiting.

import { readdir, stat } from 'node:fs/promises'
import { createRequire, register } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { z } from 'zod'
import type { FieldError } from '../shared/errors.ts'
import type { HttpTarget } from '../shared/http-targets.ts'
import { StartupError } from '../shared/startup-error.ts'
import type { TaskType } from '../shared/task-types.ts'
import type { TaskDefinition } from './define-task.ts'
import { type CheckedDefinition, checkDefinition } from './task-definition.ts'

/** What the worker hands to the modules that ship and need it: those export `createTask(environment)`. */
export interface TaskEnvironment {
  readonly httpTargets: readonly HttpTarget[]
}

type ParsedInput = { ok: true; input: unknown } | { ok: false; errors: FieldError[] }

/** A type as it is announced (JSON Schema of what may be submitted, defaults filled in), and how to run it. */
export interface LoadedTask extends TaskType {
  /** Absolute path of the module. */
  readonly file: string
  readonly definition: TaskDefinition
  readonly thread: boolean
  /** Checks input and fills in its defaults; paths are dotted (`items.0.url`). Checks of the schema must be synchronous. */
  parseInput(raw: unknown): ParsedInput
}

/** The folder of the tasks that ship (in the built project). */
export const SHIPPED_TASKS_DIR = fileURLToPath(new URL('./tasks', import.meta.url))

/**
 * Imports every `.js` and `.mjs` file of the folder, by name, without its subfolders; `*.test.*`, `*.spec.*` and dot
 * files are left out. A module exports a task definition as default, or `createTask(environment)` that returns one.
 *
 * Throws a StartupError with a one-line message: the file and what is wrong with it, or MILLRACE_TASKS_DIR if the folder is
 * missing or has no modules.
 */
export async function loadTasks(
  dir: string,
  environment: TaskEnvironment = { httpTargets: [] },
): Promise<LoadedTask[]> {
  const folder = resolve(dir)
  const files = await moduleFiles(folder)
  provideOwnPackages(folder)
  const tasks = new Map<string, LoadedTask>()
  for (const file of files) {
    const task = await loadTask(file, environment)
    const other = tasks.get(task.type)
    if (other !== undefined)
      throw new StartupError(`${file}: type "${task.type}" is already defined by ${other.file}`)
    tasks.set(task.type, task)
  }
  return [...tasks.values()]
}

async function moduleFiles(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch(error => {
    throw new StartupError(`MILLRACE_TASKS_DIR: cannot read the folder ${folder} (${error.code})`)
  })
  const candidates = names
    .filter(name => /\.m?js$/.test(name) && !/\.(?:test|spec)\.|^\./.test(name))
    .sort()
    .map(name => join(folder, name))
  const stats = await Promise.all(candidates.map(file => stat(file)))
  const files = candidates.filter((_, index) => stats[index]?.isFile())
  if (files.length === 0) throw new StartupError(`MILLRACE_TASKS_DIR: no .js or .mjs module in ${folder}`)
  return files
}

/** As `loadTasks` does with each module. */
export async function loadTaskFile(file: string, environment: TaskEnvironment): Promise<LoadedTask> {
  provideOwnPackages(dirname(file))
  return loadTask(file, environment)
}

async function loadTask(file: string, environment: TaskEnvironment): Promise<LoadedTask> {
  try {
    const definition = exportedDefinition(await importModule(file), environment)
    return describeTask(file, definition as TaskDefinition, checkDefinition(definition))
  } catch (error) {
    throw new StartupError(`${file}: ${firstLine(error)}`, { cause: error })
  }
}

async function importModule(file: string): Promise<Record<string, unknown>> {
  try {
    return await import(pathToFileURL(file).href)
  } catch (error) {
    throw new Error(`does not load: ${firstLine(error)}`, { cause: error })
  }
}

function exportedDefinition(module: Record<string, unknown>, environment: TaskEnvironment): unknown {
  if (typeof module.createTask === 'function') return module.createTask(environment)
  if (module.default === undefined) throw new Error('has no default export')
  return module.default
}

function describeTask(file: string, definition: TaskDefinition, checked: CheckedDefinition): LoadedTask {
  const { type, input, attempts, backoff, timeoutMs, concurrency, thread } = checked
  const inputSchema = input === undefined ? null : toJsonSchema(input)
  const parseInput = (raw: unknown) => parse(input, raw)
  return {
    type,
    file,
    definition,
    inputSchema,
    attempts,
    backoff,
    timeoutMs,
    concurrency,
    thread,
    parseInput,
  }
}

function toJsonSchema(schema: z.ZodType): Record<string, unknown> {
  return z.toJSONSchema(schema, { io: 'input', target: 'draft-2020-12', unrepresentable: 'any' })
}

function parse(schema: z.ZodType | undefined, raw: unknown): ParsedInput {
  if (schema === undefined) return { ok: true, input: raw }
  const parsed = z.safeParse(schema, raw)
  if (parsed.success) return { ok: true, input: parsed.data }
  const errors = parsed.error.issues.map(({ path, message }) => ({
    path: path.map(String).join('.'),
    message,
  }))
  return { ok: false, errors }
}

let ownPackagesProvided = false

// Only when the folder can't resolve them itself: hooks cost a thread, and a folder's own copy comes first anyway.
function provideOwnPackages(folder: string): void {
  const { resolve: find } = createRequire(join(folder, 'any.js'))
  const isFound = (specifier: string) => {
    try {
      find(specifier)
      return true
    } catch {
      return false
    }
  }
  if (ownPackagesProvided || (isFound('zod') && isFound('millrace/task'))) return
  // Beside this file, with the same ending: .js in the built project.
  register(import.meta.url.replace(/load-tasks(\.\w+)$/, 'task-resolve-hooks$1'))
  ownPackagesProvided = true
}

function firstLine(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error)
  return message.split('\n', 1)[0] ?? ''
}

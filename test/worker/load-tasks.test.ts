// Loading is tried in a process of its own on the built project, since only real Node runs resolve hooks.

import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'

const run = promisify(execFile)
const PROJECT = resolve(import.meta.dirname, '../..')
const LOADER = pathToFileURL(join(PROJECT, 'dist/worker/load-tasks.js')).href

// Prints the loaded tasks, what their parseInput says to `inputs`, and whether the hooks were needed.
const CHILD = `
  import module, { syncBuiltinESMExports } from 'node:module'
  let registered = 0
  const { register } = module
  module.register = (...args) => (registered++, register(...args))
  syncBuiltinESMExports()
  const [loader, dir, inputs] = process.argv.slice(-3)
  const { loadTasks, SHIPPED_TASKS_DIR } = await import(loader)
  try {
    const environment = { httpTargets: [{ origin: 'http://files.example', path: '' }] }
    const tasks = await loadTasks(dir || SHIPPED_TASKS_DIR, environment)
    const again = await loadTasks(dir || SHIPPED_TASKS_DIR, environment)
    const parsed = JSON.parse(inputs).map(input => tasks[0].parseInput(input))
    const results = await Promise.all(tasks.map(task => dir && task.definition.run(2)))
    console.log(JSON.stringify({ tasks, parsed, results, registered, same: again.length === tasks.length }))
  } catch (error) {
    console.log(JSON.stringify({ error: error.message, name: error.name }))
  }
`

interface Loaded {
  tasks: { type: string; file: string; [field: string]: unknown }[]
  parsed: unknown[]
  results: unknown[]
  registered: number
  same: boolean
  error?: string
  name?: string
}

async function load(dir: string, inputs: unknown[] = []): Promise<Loaded> {
  const args = ['--input-type=module', '--eval', CHILD, '--', LOADER, dir, JSON.stringify(inputs)]
  const { stdout } = await run(process.execPath, args, { cwd: tmpdir() })
  return JSON.parse(stdout)
}

let folder: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'millrace-tasks-'))
})

afterEach(() => rm(folder, { recursive: true }))

async function write(files: Record<string, string>): Promise<void> {
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true })
    await writeFile(join(folder, name), text)
  }
}

const plain = (type: string) => `export default { type: '${type}', run: input => input * 2 }`

describe('loadTasks', () => {
  test('loads the tasks that ship', async () => {
    const { tasks, registered } = await load('')
    expect(tasks.map(({ type }) => type)).toEqual(['countdown', 'csv-summary', 'http'])
    expect(tasks[0]).toMatchObject({ attempts: 1, timeoutMs: 3_600_000, thread: false })
    expect(tasks[0]?.inputSchema).toMatchObject({
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      type: 'object',
      properties: { steps: { type: 'integer', minimum: 1, maximum: 10_000, default: 10 } },
    })
    expect(registered).toBe(0)
  })

  test('gives a folder without node_modules what it imports from millrace and zod', async () => {
    await write({
      'resize.mjs': `
        import { defineTask } from 'millrace/task'
        import { z } from 'zod'
        import * as mini from 'zod/mini'
        export default defineTask({
          type: 'resize', attempts: 3, timeoutMs: 60_000, thread: true,
          backoff: { type: 'fixed', delayMs: 5 },
          input: z.object({ items: z.array(z.object({ url: z.url() })), width: z.int().positive().default(7) }),
          run: width => typeof mini.string + width,
        })`,
    })
    const good = { items: [{ url: 'https://a.example/' }] }
    const { tasks, parsed, results, registered, same } = await load(folder, [
      good,
      { items: [{ url: 'x' }] },
      5,
    ])
    expect(tasks).toEqual([
      expect.objectContaining({
        type: 'resize',
        file: join(folder, 'resize.mjs'),
        attempts: 3,
        backoff: { type: 'fixed', delayMs: 5 },
        timeoutMs: 60_000,
        thread: true,
      }),
    ])
    expect(tasks[0]?.inputSchema).toMatchObject({ required: ['items'] })
    expect(parsed).toEqual([
      { ok: true, input: { ...good, width: 7 } },
      { ok: false, errors: [{ path: 'items.0.url', message: expect.any(String) }] },
      { ok: false, errors: [{ path: '', message: expect.any(String) }] },
    ])
    expect(results).toEqual(['function2'])
    expect({ registered, same }).toEqual({ registered: 1, same: true })
  })

  test("prefers a folder's own copy of zod and needs no hooks where everything is found", async () => {
    await write({
      'node_modules/zod/package.json': '{ "name": "zod", "type": "module", "exports": "./index.js" }',
      'node_modules/zod/index.js': `export const own = 'own zod'`,
      'task.mjs': `import { own } from 'zod'\nexport default { type: 'a', run: () => own }`,
    })
    expect(await load(folder)).toMatchObject({ results: ['own zod'], registered: 1 })
    await symlink(PROJECT, join(folder, 'node_modules/millrace'))
    expect(await load(folder)).toMatchObject({ results: ['own zod'], registered: 0 })
  })

  test('takes plain objects of ES modules and CommonJS, by name, and nothing else in the folder', async () => {
    await write({
      'b.mjs': plain('b-task'),
      'a.js': `module.exports = { type: 'a-task', run: () => 'from CommonJS' }`,
      'c.js': plain('c-task'),
      'linked/d.mjs': plain('d-task'),
      'a.test.js': 'throw new Error()',
      'a.spec.mjs': 'throw new Error()',
      'a.js.map': '{}',
      'a.d.ts': 'export {}',
      '._a.js': 'throw new Error()',
      'folder.js/index.js': 'throw new Error()',
      'notes.txt': '',
    })
    await symlink('linked/d.mjs', join(folder, 'd.mjs'))
    const { tasks, parsed, results } = await load(folder, [{ any: 'thing' }])
    expect(tasks.map(({ type }) => type)).toEqual(['a-task', 'b-task', 'c-task', 'd-task'])
    expect(tasks[0]).toMatchObject({ inputSchema: null, attempts: 1, timeoutMs: 3_600_000, thread: false })
    expect(parsed).toEqual([{ ok: true, input: { any: 'thing' } }])
    expect(results).toEqual(['from CommonJS', 4, 4, 4])
  })

  test('hands the environment to createTask', async () => {
    const module = `export const createTask = ({ httpTargets }) => ({ type: 'a', run: () => httpTargets })`
    await write({ 'a.mjs': module })
    expect((await load(folder)).results).toEqual([[{ origin: 'http://files.example', path: '' }]])
  })

  const run = 'run() {}'
  test.each([
    ['throws at import', `throw new Error('boom\\nsecond line')`, 'does not load: boom'],
    ['is no JavaScript', 'export default {', 'does not load: '],
    ['imports what is not there', `import 'left-pad'`, 'does not load: Cannot find package'],
    ['imports what Millrace does not export', `import 'millrace/nope'`, 'does not load: '],
    ['has no default export', 'export const type = 1', 'has no default export'],
    ['exports a function', 'export default function () {}', 'expected object'],
    ['exports null', 'export default null', 'expected object'],
    ['lacks run', `export default { type: 'a' }`, 'run: must be a function'],
    ['lacks a type', `export default { ${run} }`, 'type: '],
    ['has a bad type', `export default { type: '-a', ${run} }`, 'type: '],
    ['has a long type', `export default { type: 'a'.repeat(65), ${run} }`, 'type: '],
    ['has too many attempts', `export default { type: 'a', attempts: 26, ${run} }`, 'attempts: '],
    ['has no attempts', `export default { type: 'a', attempts: 0, ${run} }`, 'attempts: '],
    ['has no time', `export default { type: 'a', timeoutMs: 0, ${run} }`, 'timeoutMs: '],
    ['has endless time', `export default { type: 'a', timeoutMs: Infinity, ${run} }`, 'timeoutMs: '],
    ['has an odd backoff', `export default { type: 'a', backoff: { type: 'x' }, ${run} }`, 'backoff: type: '],
    [
      'has a JSON Schema as input',
      `export default { type: 'a', input: {}, ${run} }`,
      'input: must be a zod 4 schema',
    ],
    ['has a field that means nothing', `export default { type: 'a', timeout: 5, ${run} }`, '"timeout"'],
  ])('names the file when a module %s', async (_what, text, fault) => {
    await write({ 'good.mjs': plain('good'), 'other.mjs': text })
    const { error, name } = await load(folder)
    expect(error).toContain(`${join(folder, 'other.mjs')}: `)
    expect(error).toContain(fault)
    expect(error).not.toContain('\n')
    expect(name).toBe('StartupError')
  })

  test('names both files when types clash', async () => {
    await write({ 'one.mjs': plain('same'), 'two.mjs': plain('same') })
    const { error } = await load(folder)
    expect(error).toBe(
      `${join(folder, 'two.mjs')}: type "same" is already defined by ${join(folder, 'one.mjs')}`,
    )
  })

  test('names MILLRACE_TASKS_DIR when the folder is missing, a file, or has no modules', async () => {
    expect((await load(join(folder, 'nowhere'))).error).toMatch(/^MILLRACE_TASKS_DIR: .*nowhere.*ENOENT/)
    expect((await load(folder)).error).toBe(`MILLRACE_TASKS_DIR: no .js or .mjs module in ${folder}`)
    await write({ file: '' })
    expect((await load(join(folder, 'file'))).error).toMatch(/^MILLRACE_TASKS_DIR: .*ENOTDIR/)
  })
})

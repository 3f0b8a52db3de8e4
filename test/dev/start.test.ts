import { type ChildProcess, spawn } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals'
import { projectRoot } from '../../dev/project-root.ts'
import { startRedis } from '../support/redis.ts'
import { canFindProcesses, type Mark, markProcesses } from './marked-processes.ts'
import { builtModule, type RunningScript, watch } from './script.ts'

/** Stands in for a gateway or worker: the same signals, channel and messages, and nothing else. */
const STAND_IN = `
import { createConnection } from 'node:net'
const name = process.argv[1].includes('gateway') ? 'gateway' : 'worker'
const say = msg => console.log(JSON.stringify({ level: 30, time: Date.now(), service: name, msg }))
const { port } = new URL(process.env.REDIS_URL)
if (process.env.STAND_IN_FAILS === name) {
  console.error(name + ': PORT 8080 is taken')
  process.exit(3)
}
process.on('disconnect', () => process.exit(0))
process.on('SIGTERM', () => {
  if (process.env.STAND_IN_HANGS) return
  // Long enough for a Redis that is ended too early to be gone.
  setTimeout(() => {
    const redis = createConnection(port, '127.0.0.1', () => redis.write('PING\\r\\n'))
    redis.on('error', () => process.exit(9))
    redis.on('data', data => {
      say(name + ' drained with Redis saying ' + data)
      process.exit(0)
    })
  }, 500)
})
say(name + ' has demo ' + process.env.MILLRACE_DEMO + ', PORT ' + process.env.PORT + ' and ' + process.env.REDIS_URL)
const url = name === 'gateway' ? { url: 'http://127.0.0.1:4711' } : { types: ['countdown', 'http'] }
process.send({ ready: true, opsUrl: 'http://127.0.0.1:4712', ...url })
`

const describeWithProc = canFindProcesses ? describe : describe.skip

describeWithProc('npm start (its processes found in /proc)', () => {
  let project: string
  let mark: Mark
  const started: ChildProcess[] = []

  beforeAll(async () => {
    builtModule('dev/start.js')
    const root = projectRoot()
    project = await mkdtemp(join(tmpdir(), 'millrace-start-'))
    await cp(join(root, 'dist/dev'), join(project, 'dist/dev'), { recursive: true })
    await cp(join(root, 'package.json'), join(project, 'package.json'))
    await symlink(join(root, 'node_modules'), join(project, 'node_modules'))
    for (const name of ['gateway', 'worker']) {
      await mkdir(join(project, 'dist', name))
      await writeFile(join(project, 'dist', name, 'main.js'), STAND_IN)
    }
  })

  afterEach(async () => {
    for (const child of started.splice(0)) child.kill('SIGKILL')
    await mark.untilGone()
  })

  afterAll(() => rm(project, { recursive: true, force: true }))

  function start(env: NodeJS.ProcessEnv = {}, command = [process.execPath, startScript()]): RunningScript {
    mark = markProcesses()
    const { REDIS_URL: _, ...rest } = process.env
    const child = spawn(command[0]!, command.slice(1), {
      env: { ...rest, ...mark.env, ...env },
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    started.push(child)
    return watch(child)
  }

  const startScript = () => join(project, 'dist/dev/start.js')

  /** What a terminal does at Ctrl-C: the whole foreground group gets it. */
  const ctrlC = (script: RunningScript) => process.kill(-Number(script.child.pid), 'SIGINT')
  const ready = async (script: RunningScript) => {
    await script.untilOutput(/pages at/)
    await script.untilOutput(/ready for/)
  }

  test('says in one line each where to go', async () => {
    const script = start()
    await ready(script)
    expect(script.output()).toMatch(
      /"service":"redis","msg":"redis:\/\/127\.0\.0\.1:\d+, redis-server \S+ .*\.millrace\/redis"/,
    )
    expect(script.output()).toContain(
      '"service":"gateway","msg":"pages at http://127.0.0.1:4711/, API at http://127.0.0.1:4711/v1, metrics',
    )
    expect(script.output()).toContain(
      '"service":"worker","msg":"ready for countdown, http, metrics at http://127.0.0.1:4712/metrics"',
    )
    ctrlC(script)
    await script.ended
  })

  test('ends when a supervisor ends npm', async () => {
    const script = start({}, ['npm', '--prefix', project, '--ignore-scripts', 'start'])
    await ready(script)
    script.child.kill('SIGTERM')
    await script.untilOutput(/gateway drained/)
    await script.untilOutput(/worker drained/)
    await script.ended
  })

  test('passes the environment on and turns the demo on', async () => {
    const script = start({ PORT: '4711' })
    await script.untilOutput(/gateway has demo on, PORT 4711/)
    ctrlC(script)
    await script.ended

    const without = start({ MILLRACE_DEMO: 'off' })
    await without.untilOutput(/worker has demo off/)
    ctrlC(without)
    await without.ended
  })

  test('uses the Redis that REDIS_URL names', async () => {
    const redis = await startRedis()
    const script = start({ REDIS_URL: redis.url })
    await script.untilOutput(new RegExp(`worker has demo on.* ${redis.url}`))
    await ready(script)
    expect(script.output()).not.toContain('"service":"redis"')
    ctrlC(script)
    expect(await script.ended).toBe(0)
    await redis.close()
  })

  test('ends at Ctrl-C with gateway and worker drained before Redis goes, and leaves nothing', async () => {
    const script = start()
    await ready(script)
    ctrlC(script)
    // npm passes the same Ctrl-C on a second time.
    ctrlC(script)
    expect(await script.ended).toBe(0)
    expect(script.output()).toContain('gateway drained with Redis saying +PONG')
    expect(script.output()).toContain('worker drained with Redis saying +PONG')
    expect(mark.processes()).toEqual([])
    expect(await readdir(join(project, '.millrace/redis'))).toEqual(['appendonlydir'])
  })

  test('ends at SIGTERM as well', async () => {
    const script = start()
    await ready(script)
    script.child.kill('SIGTERM')
    expect(await script.ended).toBe(0)
    expect(script.output()).toContain('worker drained')
  })

  test('ends at once when asked again, though a service hangs', async () => {
    const script = start({ STAND_IN_HANGS: 'yes' })
    await ready(script)
    ctrlC(script)
    await script.untilOutput(/ending the gateway/)
    const again = setInterval(() => ctrlC(script), 100)
    try {
      expect(await script.ended).toBe(130)
    } finally {
      clearInterval(again)
    }
  })

  test('leaves nothing when it is killed', async () => {
    const script = start()
    await ready(script)
    expect(mark.processes().length).toBeGreaterThan(3)
    script.child.kill('SIGKILL')
    await script.ended
    await mark.untilGone()
  })

  test('ends with the exit code of a service that ends by itself, and names it', async () => {
    const script = start({ STAND_IN_FAILS: 'gateway' })
    expect(await script.ended).toBe(3)
    expect(script.output()).toContain('gateway: PORT 8080 is taken')
    expect(script.output().match(/ended by itself/g)).toHaveLength(1)
    expect(script.output()).toContain('the gateway ended by itself with exit code 3')
    expect(mark.processes()).toEqual([])
  })

  test('ends when Redis dies', async () => {
    const script = start()
    await ready(script)
    const claims = await readdir(join(project, '.millrace/redis'))
    process.kill(Number(/redis-(\d+)\.pid/.exec(claims.join())?.[1]), 'SIGKILL')
    expect(await script.ended).toBe(1)
    expect(script.output()).toContain('Redis ended by SIGKILL')
  })

  test('is refused a second time beside the first', async () => {
    const script = start()
    await ready(script)
    const firstMark = mark
    const second = start()
    expect(await second.ended).toBe(1)
    expect(second.output()).toMatch(/Redis is already running on .* stop it first/)
    ctrlC(script)
    expect(await script.ended).toBe(0)
    await firstMark.untilGone()
  })
})

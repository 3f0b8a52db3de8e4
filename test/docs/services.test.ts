// The services of docs/services.md, as they stand there. They need python3.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { freePort } from '../../dev/free-port.ts'
import { call } from '../support/http.ts'
import { startGateway, startWorker, type TestGateway } from '../support/processes.ts'
import { startRedis, type TestRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { openViewer } from '../support/viewer.ts'
import { fencedBlocks, readPage } from './pages.ts'

const SECRET = `whsec_${Buffer.alloc(32, 3).toString('base64')}`
const [service = '', receiver = ''] = fencedBlocks(readPage('docs/services.md'), 'python')

interface Program {
  readonly port: number
  readonly child: ChildProcess
  output: string
}

/** Runs a program with another port in place of its own; resolves when it listens. */
async function run(code: string, ownPort: string): Promise<Program> {
  const port = await freePort()
  const child = spawn('python3', ['-c', code.replace(ownPort, String(port))], {
    env: { PATH: process.env.PATH, MILLRACE_WEBHOOK_SECRET: SECRET },
  })
  const program: Program = { port, child, output: '' }
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', text => {
      program.output += text
    })
  }
  await until('the program to listen', () => isListening(port))
  return program
}

/** Jest is silent about a file that is skipped as a whole, so the name is written out too. */
function describeWithPython(name: string, suite: () => void): void {
  if (spawnSync('python3', ['--version']).status === 0) {
    describe(name, suite)
    return
  }
  const skipped = `${name} (skipped: no python3)`
  process.stderr.write(`${skipped}\n`)
  describe.skip(skipped, suite)
}

function isListening(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => resolve(false))
    socket.on('connect', () => {
      socket.destroy()
      resolve(true)
    })
  })
}

describeWithPython('the services in Python of docs/services.md', () => {
  let redis: TestRedis
  let gateway: TestGateway
  let jobs: Program
  let hooks: Program
  const submit = (body: object) => call(`${gateway.url}/v1/tasks`, { body })
  const job = (body: object) => ({ type: 'http', input: { url: `http://127.0.0.1:${jobs.port}/jobs`, body } })

  beforeAll(async () => {
    ;[redis, jobs, hooks] = await Promise.all([startRedis(), run(service, '9000'), run(receiver, '9001')])
    const env = {
      MILLRACE_HTTP_TARGETS: `http://127.0.0.1:${jobs.port}/jobs,http://127.0.0.1:${hooks.port}/hooks`,
      MILLRACE_WEBHOOK_SECRET: SECRET,
    }
    gateway = await startGateway({ redisUrl: redis.url, env })
    await startWorker({ redisUrl: redis.url, env })
  })
  afterAll(async () => {
    jobs?.child.kill()
    hooks?.child.kill()
    await redis?.close()
  })

  test('work, and say so while they do', async () => {
    const { body: task } = await submit(job({ text: 'one two' }))
    const viewer = await openViewer(gateway.url + task.links.events)
    expect(await viewer.done).toBe('ended')
    expect(viewer.data('output')).toMatchObject([{ chunk: 'ONE' }, { chunk: 'TWO' }])
    expect(viewer.data('progress').at(-1)).toMatchObject({ percent: 100, message: 'word 2 of 2' })
    expect(viewer.data('completed')).toMatchObject([{ result: { words: 2 } }])
  })

  test('refuse what they cannot do', async () => {
    const { body: task } = await submit(job({}))
    const viewer = await openViewer(gateway.url + task.links.events)
    await viewer.done
    expect(viewer.data('failed')).toMatchObject([
      { error: { code: 'no-words', retryable: false }, attempt: 1 },
    ])
  })

  test('notice that a task was cancelled', async () => {
    const { body: task } = await submit(job({ text: 'a b c d e f g h i j k l m n o p q r s t u v w x y z' }))
    const viewer = await openViewer(gateway.url + task.links.events)
    await viewer.until(({ events }) => events.some(({ type }) => type === 'output'))
    await call(`${gateway.url}/v1/tasks/${task.id}/cancel`, { method: 'POST' })
    await until('the service to notice', () => jobs.output.includes(`task ${task.id} is no longer wanted`))
  })

  test('take a callback that is genuine, and no other', async () => {
    const callbackUrl = `http://127.0.0.1:${hooks.port}/hooks`
    const { body: task } = await submit({
      type: 'countdown',
      input: { steps: 1, intervalMs: 0 },
      callbackUrl,
    })
    await until('the receiver to say so', () => hooks.output.includes(`${task.id} completed {'steps': 1}`))
    const headers = {
      'webhook-id': 'forged',
      'webhook-timestamp': String(Math.floor(Date.now() / 1_000)),
      'webhook-signature': 'v1,AAAA',
    }
    expect(await call(callbackUrl, { headers, body: {} })).toMatchObject({ status: 401 })
  })
})

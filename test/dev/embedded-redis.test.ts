import { access, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Redis } from 'ioredis'
import { startEmbeddedRedis } from '../../dev/embedded-redis.ts'
import { startRedis, type TestRedis } from '../support/redis.ts'
import { canFindProcesses, markProcesses } from './marked-processes.ts'
import { builtModule, runScript } from './script.ts'

const testWithProc = canFindProcesses ? test : test.skip

async function withClient<T>(url: string, use: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis(url)
  try {
    return await use(client)
  } finally {
    client.disconnect()
  }
}

describe('an embedded Redis', () => {
  let redis: TestRedis

  beforeAll(async () => {
    redis = await startRedis()
  })

  afterAll(() => redis.close())

  const write = (key: string) => withClient(redis.url, client => client.set(key, 'kept'))
  const read = (key: string) => withClient(redis.url, client => client.get(key))
  const setting = (name: string) =>
    withClient(redis.url, async client => ((await client.config('GET', name)) as string[])[1])

  test('answers on loopback alone, with the settings that Millrace needs', async () => {
    expect(redis.url).toBe(`redis://127.0.0.1:${redis.port}`)
    expect(await setting('bind')).toBe('127.0.0.1')
    expect(await setting('protected-mode')).toBe('yes')
    expect(await setting('appendonly')).toBe('yes')
    expect(await setting('appendfsync')).toBe('always')
    expect(await setting('maxmemory-policy')).toBe('noeviction')
    expect(await setting('stream-node-max-bytes')).toBe('1024')
    expect(await setting('hash-max-listpack-value')).toBe('1024')
    expect(await setting('save')).toBe('')
  })

  test('says where it came from', () => {
    expect(redis.source).toMatch(/7|8|9/)
  })

  test('keeps its data and its port through a stop and a start', async () => {
    await write('stopped')
    const { url, pid } = redis
    await redis.stop()
    expect(() => process.kill(pid, 0)).toThrow('ESRCH')
    await redis.restart()
    expect(redis.url).toBe(url)
    expect(redis.pid).not.toBe(pid)
    expect(await read('stopped')).toBe('kept')
  })

  test('keeps what it answered through a SIGKILL', async () => {
    await write('killed')
    await redis.kill()
    await redis.restart()
    expect(await read('killed')).toBe('kept')
  })

  test('can be stopped and killed twice', async () => {
    await redis.stop()
    await redis.stop()
    await redis.kill()
    await redis.restart()
    expect(await read('killed')).toBe('kept')
  })

  test('refuses a second server on its data directory and goes on', async () => {
    const second = startEmbeddedRedis({ dir: redis.dir })
    void second.then(unwanted => unwanted.stop()).catch(() => {})
    await expect(second).rejects.toThrow(`Redis is already running on ${redis.dir} as process ${redis.pid}`)
    expect(await read('killed')).toBe('kept')
  })
})

describe('its processes (found in /proc)', () => {
  let dir: string

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'millrace-parent-'))
  })

  afterAll(() => rm(dir, { recursive: true, force: true }))

  testWithProc('are all gone after a stop and after a kill', async () => {
    const mark = markProcesses()
    const redis = await startEmbeddedRedis({ dir, env: { ...process.env, ...mark.env } })
    expect(mark.processes()).not.toEqual([])
    await redis.stop()
    await mark.untilGone()
    await redis.restart()
    await redis.kill()
    await mark.untilGone()
  })

  testWithProc('are all gone after a SIGKILL of the parent, and the data are there', async () => {
    const mark = markProcesses()
    const parent = await runScript(
      dir,
      `import { startEmbeddedRedis } from '${builtModule('dev/embedded-redis.js')}'
       const redis = await startEmbeddedRedis({ dir: ${JSON.stringify(dir)}, appendFsync: 'always' })
       console.log(redis.url + ' is up')`,
      { ...process.env, ...mark.env },
    )
    const [, url] = await parent.untilOutput(/(\S+) is up/)
    await withClient(String(url), client => client.set('orphan', 'kept'))
    parent.child.kill('SIGKILL')
    expect(await parent.ended).toBe('SIGKILL')
    await mark.untilGone()

    const redis = await startEmbeddedRedis({ dir })
    expect(await withClient(redis.url, client => client.get('orphan'))).toBe('kept')
    await redis.stop()
  })

  testWithProc(
    'are all gone when the server fails at its start, which is told in its own words',
    async () => {
      const mark = markProcesses()
      const env = { ...process.env, ...mark.env }
      const start = startEmbeddedRedis({ dir, env, settings: { 'no-such-setting': '1' } })
      await expect(start).rejects.toThrow(/Redis ended with code 1: .*(Bad directive|no-such-setting)/)
      await mark.untilGone()
    },
  )
})

describe('a port that another server has', () => {
  test('is refused when it was asked for', async () => {
    const other = await startRedis()
    try {
      const start = startRedis({ port: other.port })
      await expect(start).rejects.toThrow(/already in use|listening/)
    } finally {
      await other.close()
    }
  })
})

describe('a data directory', () => {
  let dir: string

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'millrace-data-'))
  })

  afterAll(() => rm(dir, { recursive: true, force: true }))

  test('never has two servers, however many start at once', async () => {
    const starts = await Promise.allSettled([1, 2, 3, 4].map(() => startEmbeddedRedis({ dir })))
    const started = starts.filter(start => start.status === 'fulfilled')
    const refused = starts.filter(start => start.status === 'rejected')
    await Promise.all(started.map(start => start.value.stop()))
    expect(started.length).toBeLessThanOrEqual(1)
    for (const { reason } of refused) expect(String(reason)).toMatch('already running')
  })

  test('is made when it is missing', async () => {
    const redis = await startEmbeddedRedis({ dir: join(dir, 'not/yet there') })
    await redis.stop()
    await access(join(dir, 'not/yet there'))
  })
})

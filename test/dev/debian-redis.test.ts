import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, rm, truncate, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { debianRedis } from '../../dev/debian-redis.ts'
import { freePort } from '../../dev/free-port.ts'
import { launchRedis } from '../../dev/redis-process.ts'
import { untilReady } from '../../dev/redis-ready.ts'

const apt = existsSync('/usr/bin/apt-get')
const describeWithApt = apt ? describe : describe.skip

describeWithApt(`the distribution's package${apt ? '' : ' (skipped: no apt-get here)'}`, () => {
  let dir: string
  let cacheDir: string
  const search = (env: NodeJS.ProcessEnv = {}) => ({
    cacheDir,
    env: { PATH: process.env.PATH, HOME: '', ...env },
    onProgress: () => {},
  })

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'millrace-apt-'))
    cacheDir = join(dir, 'cache')
  })

  afterAll(() => rm(dir, { recursive: true, force: true }))

  test('is downloaded, unpacked and runs, without a trace of the download', async () => {
    const server = await debianRedis(search())
    expect(server.source).toMatch(/^redis-server \d+\.\d+\.\d+ of the distribution/)
    expect(await readdir(cacheDir)).toEqual(['redis-server'])

    const port = await freePort()
    const redis = launchRedis(server, { dir, port, settings: {} }, () => {})
    await untilReady(`redis://127.0.0.1:${port}`, redis)
    redis.terminate()
    await redis.exited
  })

  test('is not downloaded again', async () => {
    const { source } = await debianRedis(search({ PATH: '/nowhere' }))
    expect(source).toContain('unpacked in')
  })

  test('is replaced when it no longer runs', async () => {
    await truncate(join(cacheDir, 'redis-server/usr/bin/redis-server'), 1)
    await debianRedis(search())
    expect(await readdir(cacheDir)).toEqual(['redis-server'])
  })

  test('may be fetched by several at once', async () => {
    await rm(cacheDir, { recursive: true })
    const servers = await Promise.all([debianRedis(search()), debianRedis(search())])
    expect(new Set(servers.map(server => server.source)).size).toBe(1)
    expect(await readdir(cacheDir)).toEqual(['redis-server'])
  })

  test('comes with package lists of its own where the system has none', async () => {
    await rm(cacheDir, { recursive: true })
    const config = join(dir, 'apt.conf')
    await mkdir(join(dir, 'no-lists/partial'), { recursive: true })
    await writeFile(config, `Dir::State::lists "${join(dir, 'no-lists')}";\n`)
    await debianRedis(search({ APT_CONFIG: config }))
    expect(await readdir(cacheDir)).toEqual(['redis-server'])
  })

  test('leaves nothing when the download is interrupted, and removes what an older one left', async () => {
    await rm(cacheDir, { recursive: true })
    await mkdir(join(cacheDir, 'redis-server.partial-old'), { recursive: true })
    await utimes(join(cacheDir, 'redis-server.partial-old'), 0, 0)
    const interruption = new AbortController()
    const fetching = debianRedis({
      ...search(),
      signal: interruption.signal,
      onProgress: () => interruption.abort(),
    })
    await expect(fetching).rejects.toThrow('interrupted')
    expect(await readdir(cacheDir)).toEqual([])
  })
})

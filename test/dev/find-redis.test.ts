import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { startEmbeddedRedis } from '../../dev/embedded-redis.ts'
import { findRedis } from '../../dev/find-redis.ts'

let dir: string

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'millrace-find-'))
  await mkdir(join(dir, 'bin'))
})

afterEach(() => rm(dir, { recursive: true, force: true }))

/** A program on an otherwise empty PATH. */
async function program(path: string, script: string): Promise<void> {
  const file = join(dir, path)
  await mkdir(join(file, '..'), { recursive: true })
  await writeFile(file, `#!/bin/sh\n${script}\n`)
  await chmod(file, 0o755)
}

const saysVersion = (version: string) =>
  `echo "Redis server v=${version} sha=00000000:0 malloc=jemalloc bits=64"`
const search = () => ({ cacheDir: join(dir, 'cache'), env: { PATH: join(dir, 'bin') }, onProgress: () => {} })
const unpackedServer = 'cache/redis-server/usr/bin/redis-server'

test('a redis-server on PATH comes first', async () => {
  await program('bin/redis-server', saysVersion('7.2.4'))
  await program('bin/valkey-server', saysVersion('8.0.1'))
  await program(unpackedServer, saysVersion('7.0.15'))
  expect((await findRedis(search())).source).toBe('redis-server 7.2.4 on PATH')
})

test('a valkey-server on PATH comes before a download', async () => {
  await program('bin/valkey-server', saysVersion('8.0.1'))
  await program(unpackedServer, saysVersion('7.0.15'))
  expect((await findRedis(search())).source).toBe('valkey-server 8.0.1 on PATH')
})

test('a server older than 7 is passed over', async () => {
  await program('bin/redis-server', saysVersion('6.2.14'))
  await program('bin/valkey-server', saysVersion('10.1'))
  expect((await findRedis(search())).source).toBe('valkey-server 10.1 on PATH')
})

test("the distribution's package, unpacked before, is used again without apt", async () => {
  await program(unpackedServer, saysVersion('7.0.15'))
  await program('bin/docker', 'exit 0')
  const { source } = await findRedis(search())
  expect(source).toBe(`redis-server 7.0.15 of the distribution, unpacked in ${dir}/cache/redis-server`)
})

test('Docker comes last', async () => {
  await program('bin/docker', 'exit 0')
  expect((await findRedis(search())).source).toBe('redis:8-alpine in Docker')
})

test('a docker client without an engine is no Redis', async () => {
  await program('bin/docker', 'echo "Cannot connect to the Docker daemon" >&2; exit 1')
  await expect(findRedis(search())).rejects.toThrow('Cannot connect to the Docker daemon')
})

test('with nothing at all, one line says what to install and what was tried', async () => {
  const start = startEmbeddedRedis({ dir: join(dir, 'data'), ...search() })
  const error = await start.then(
    () => undefined,
    (reason: Error) => reason.message,
  )
  expect(error).toBe(
    'No Redis to run: install Redis 7 or newer (redis-server) or Docker, or set REDIS_URL ' +
      '(redis-server is not installed; valkey-server is not installed; apt-get is not installed; ' +
      'docker is not installed)',
  )
})

test('a search that was called off ends as an interruption, not as a lack', async () => {
  await expect(findRedis({ ...search(), signal: AbortSignal.abort() })).rejects.toThrow('aborted')
})

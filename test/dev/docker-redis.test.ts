import { execFileSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from '@jest/globals'
import { Redis } from 'ioredis'
import { dockerRedis } from '../../dev/docker-redis.ts'
import { freePort } from '../../dev/free-port.ts'
import { launchRedis } from '../../dev/redis-process.ts'
import { untilReady } from '../../dev/redis-ready.ts'

const docker = (...args: string[]) => execFileSync('docker', args, { encoding: 'utf8', stdio: 'pipe' })
const hasDocker = engineRuns()
const testWithDocker = hasDocker ? test : test.skip

testWithDocker(
  `a container keeps what it answered through a kill and goes with it${hasDocker ? '' : ' (skipped: no Docker engine)'}`,
  async () => {
    const dir = await mkdtemp(join(tmpdir(), 'millrace-docker-'))
    const server = await dockerRedis({ cacheDir: dir, env: process.env, onProgress: () => {} })
    const port = await freePort()
    const url = `redis://127.0.0.1:${port}`
    const settings = { appendonly: 'yes', appendfsync: 'always' }
    const run = async () => {
      const redis = launchRedis(server, { dir, port, settings }, () => {})
      await untilReady(url, redis)
      return redis
    }
    try {
      const first = await run()
      await withClient(url, client => client.set('key', 'kept'))
      await first.kill()
      await first.exited

      const second = await run()
      expect(await withClient(url, client => client.get('key'))).toBe('kept')
      second.terminate()
      await second.exited
      expect(docker('ps', '--all', '--format', '{{.Ports}}')).not.toContain(`:${port}->`)
    } finally {
      await rm(dir, { recursive: true, force: true })
    }
  },
)

async function withClient<T>(url: string, use: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis(url)
  try {
    return await use(client)
  } finally {
    client.disconnect()
  }
}

function engineRuns(): boolean {
  try {
    docker('version')
    return true
  } catch {
    return false
  }
}

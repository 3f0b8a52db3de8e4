/** A real Redis server for one test file: on a free port, with data of its own that go with it. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type EmbeddedRedis,
  type EmbeddedRedisOptions,
  startEmbeddedRedis,
} from '../../dev/embedded-redis.ts'

export interface TestRedis extends EmbeddedRedis {
  readonly dir: string
  /** Ends it and removes its data. Call it in `afterAll`. */
  close(): Promise<void>
}

/**
 * Writes every append to disk before it answers, unless told otherwise, so that a test may kill and restart it.
 * Never a server that REDIS_URL names.
 */
export async function startRedis(options: Omit<EmbeddedRedisOptions, 'dir'> = {}): Promise<TestRedis> {
  const dir = await mkdtemp(join(tmpdir(), 'millrace-redis-'))
  const remove = () => rm(dir, { recursive: true, force: true })
  try {
    const redis = await startEmbeddedRedis({ appendFsync: 'always', ...options, dir })
    const close = async () => {
      await redis.stop()
      await remove()
    }
    return Object.assign(redis, { dir, close })
  } catch (error) {
    await remove()
    throw error
  }
}

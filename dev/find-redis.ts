/** Finds a Redis server to run, from the nearest place to the farthest. Runs none. */
import { debianRedis } from './debian-redis.ts'
import { dockerRedis } from './docker-redis.ts'
import { checkVersion, localServer, type RedisSearch, type RedisServer } from './redis-server.ts'

const SOURCES: ReadonlyArray<(search: RedisSearch) => Promise<RedisServer>> = [
  search => onPath('redis-server', search),
  search => onPath('valkey-server', search),
  debianRedis,
  dockerRedis,
]

/** The first server that works. Rejects with one line that says what to install, and why each source failed. */
export async function findRedis(search: RedisSearch): Promise<RedisServer> {
  const reasons: string[] = []
  for (const source of SOURCES) {
    search.signal?.throwIfAborted()
    try {
      return await source(search)
    } catch (error) {
      reasons.push((error as Error).message)
    }
  }
  search.signal?.throwIfAborted()
  throw new Error(
    `No Redis to run: install Redis 7 or newer (redis-server) or Docker, or set REDIS_URL (${reasons.join('; ')})`,
  )
}

async function onPath(name: string, { env }: RedisSearch): Promise<RedisServer> {
  const version = await checkVersion(name, env)
  return localServer(name, env, `${name} ${version} on PATH`)
}

/** Redis, a gateway and a worker as one: starts them in order, and ends them all in order as soon as one ends. */
import type { Logger } from 'pino'
import { type EmbeddedRedis, startEmbeddedRedis } from './embedded-redis.ts'
import { type ReadyMessage, type Service, startService } from './service.ts'

/** Services end themselves by force. This is for one that can't: longer than any drain that can be configured. */
const DRAIN_TIMEOUT_MS = 630_000

/** What differs on a developer's machine. Draining slowly has no point with one gateway, as nobody can move. */
const DEFAULTS = { MILLRACE_DEMO: 'on', MILLRACE_DRAIN_MS: '1000' }

export interface Everything {
  /** Paths of the two programs. */
  gateway: string
  worker: string
  /** Redis keeps its data here. */
  dataDir: string
  /** Passed on to both. With a REDIS_URL no Redis is started. */
  env: NodeJS.ProcessEnv
  log: Logger
  /** Ends everything cleanly. */
  stop: AbortSignal
  /** Ends everything at once. */
  kill: AbortSignal
}

/** Resolves when all of it has ended, with the exit code: 0 after `stop`, else that of the part that ended first. */
export async function runEverything(all: Everything): Promise<number> {
  const redis = await startRedis(all)
  if (all.stop.aborted) {
    await redis?.stop()
    return 0
  }
  const env = { ...DEFAULTS, ...all.env, ...(redis && { REDIS_URL: redis.url }) }
  const services = [startService('gateway', all.gateway, env), startService('worker', all.worker, env)]
  all.kill.addEventListener('abort', () => killEverything(services, redis))
  for (const service of services) {
    void service.ready.then(message => announce(all.log, service, message))
  }

  const code = await firstEnd(services, redis, all)
  // Redis last: what drains still writes to it.
  await drain(services)
  await redis?.stop()
  return code
}

async function startRedis({ env, dataDir, log, stop }: Everything): Promise<EmbeddedRedis | undefined> {
  if (env.REDIS_URL) return undefined
  try {
    const redis = await startEmbeddedRedis({
      dir: dataDir,
      env,
      signal: stop,
      onProgress: line => log.info({ service: 'redis' }, line),
    })
    log.info({ service: 'redis' }, `${redis.url}, ${redis.source}, data in ${dataDir}`)
    return redis
  } catch (error) {
    if (stop.aborted) return undefined
    throw error
  }
}

function announce(log: Logger, { name }: Service, { url, opsUrl, types }: ReadyMessage): void {
  const metrics = `metrics at ${opsUrl}/metrics`
  const what = url ? `pages at ${url}/, API at ${url}/v1` : `ready for ${types?.join(', ') ?? 'tasks'}`
  log.info({ service: name }, `${what}, ${metrics}`)
}

/** Waits until there is a reason to end. Says which part ended by itself. */
async function firstEnd(
  services: Service[],
  redis: EmbeddedRedis | undefined,
  { stop, log }: Everything,
): Promise<number> {
  const ends = services.map(async ({ name, exited }) => {
    const code = await exited
    return { code, what: `the ${name} ended by itself with exit code ${code}` }
  })
  if (redis) ends.push(redis.exited.then(how => ({ code: 1, what: `Redis ${how}` })))
  const asked = new Promise<{ code: number; what: string }>(resolve => {
    stop.addEventListener('abort', () => resolve({ code: 0, what: 'asked to' }))
  })
  const { code, what } = await Promise.race([asked, ...ends])
  if (!stop.aborted) log.error({ service: 'start' }, `${what}; ending everything`)
  return code
}

async function drain(services: Service[]): Promise<void> {
  for (const service of services) service.terminate()
  const late = setTimeout(() => {
    for (const service of services) service.kill()
  }, DRAIN_TIMEOUT_MS)
  await Promise.all(services.map(service => service.exited))
  clearTimeout(late)
}

function killEverything(services: Service[], redis: EmbeddedRedis | undefined): void {
  for (const service of services) service.kill()
  void redis?.kill()
}

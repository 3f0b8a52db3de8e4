/** Redis in a container, published on loopback alone, for machines that have Docker and nothing else. */
import { createHash } from 'node:crypto'
import { type RedisLaunch, type RedisSearch, type RedisServer, settingArguments } from './redis-server.ts'
import { runCommand } from './run-command.ts'

const IMAGE = 'redis:8-alpine'
const ENGINE_TIMEOUT_MS = 10_000
const PULL_TIMEOUT_MS = 300_000

/** Rejects where there is no Docker engine, or no image and no way to get it. */
export async function dockerRedis({ env, signal, onProgress }: RedisSearch): Promise<RedisServer> {
  const docker = (args: string[], timeoutMs: number) => runCommand('docker', args, { env, timeoutMs, signal })
  await docker(['version', '--format', '{{.Server.Version}}'], ENGINE_TIMEOUT_MS)
  const present = await docker(['image', 'inspect', IMAGE], ENGINE_TIMEOUT_MS).catch(() => undefined)
  if (!present) {
    onProgress(`pulling ${IMAGE} with docker`)
    await docker(['pull', '--quiet', IMAGE], PULL_TIMEOUT_MS)
  }
  return {
    source: `${IMAGE} in Docker`,
    env,
    command: containerCommand,
    // Without the caller's signal: what it interrupts still has to be ended. A container that isn't there is fine.
    kill: launch =>
      runCommand('docker', ['kill', containerName(launch)], { env, timeoutMs: ENGINE_TIMEOUT_MS }).catch(
        () => undefined,
      ),
  }
}

function containerCommand(launch: RedisLaunch): string[] {
  const options = ['--rm', '--name', containerName(launch), '--publish', `127.0.0.1:${launch.port}:6379`]
  const data = ['--volume', `${launch.dir}:/data`, '--user', `${process.getuid?.()}:${process.getgid?.()}`]
  // Past the image's own entry point, which would give the data to another user.
  const program = ['--entrypoint', 'redis-server', IMAGE]
  // Inside the container a connection comes from the bridge, never from its loopback.
  const settings = settingArguments({ bind: '0.0.0.0', 'protected-mode': 'no', ...launch.settings })
  return ['docker', 'run', ...options, ...data, ...program, ...settings]
}

/** One name a data directory, so that Docker too refuses a second server on it. */
function containerName({ dir }: RedisLaunch): string {
  return `millrace-redis-${createHash('sha256').update(dir).digest('hex').slice(0, 12)}`
}

// What a benchmark ran on.

import { arch, cpus, loadavg, release, type } from 'node:os'
import { runCommand } from '../../dev/run-command.ts'
import { VERSION } from '../../shared/version.ts'

export interface Machine {
  readonly millrace: string
  readonly node: string
  readonly redis: string
  readonly cpu: string
  readonly cores: number
  readonly system: string
  /** Of the last minute, before the benchmark began; above about 0.3 others were at work too. */
  readonly loadAverage: number
}

/** `redis` says which server. */
export async function describeMachine(redis: string): Promise<Machine> {
  const options = { env: process.env, timeoutMs: 5_000 }
  const commit = await runCommand('git', ['rev-parse', '--short', 'HEAD'], options).catch(() => '')
  return {
    millrace: [VERSION, commit.trim()].filter(Boolean).join(' at '),
    node: process.version,
    redis,
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    system: `${type()} ${release()} ${arch()}`,
    loadAverage: loadavg()[0]!,
  }
}

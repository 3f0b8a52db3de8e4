/**
 * Keeps a second server away from a data directory. Every server has a claim, a file named after its process
 * id, which is written before the server may run and is worth something only while that process lives. Whoever
 * finds another living claim withdraws; so two that start at once may both withdraw, but never both run.
 */
import { readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const CLAIM = /^redis-(\d+)\.pid$/

/** `dir` is the real path, and the working directory of process `pid`. Throws if another one has it. */
export function claimDataDir(dir: string, pid: number): void {
  const own = claimFile(dir, pid)
  writeFileSync(own, `${pid}\n`)
  for (const other of claims(dir)) {
    if (other === pid) continue
    if (!worksIn(dir, other)) {
      releaseDataDir(dir, other)
      continue
    }
    rmSync(own, { force: true })
    throw new Error(
      `Redis is already running on ${dir} as process ${other}: stop it first (or, if that process is ` +
        `something else, remove ${claimFile(dir, other)})`,
    )
  }
}

export function releaseDataDir(dir: string, pid: number): void {
  rmSync(claimFile(dir, pid), { force: true })
}

function claims(dir: string): number[] {
  return readdirSync(dir).flatMap(name => {
    const pid = CLAIM.exec(name)?.[1]
    return pid ? [Number(pid)] : []
  })
}

function claimFile(dir: string, pid: number): string {
  return join(dir, `redis-${pid}.pid`)
}

/** A number can come back as another process; but only a server of ours has the directory as its own. */
function worksIn(dir: string, pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
  }
  if (process.platform !== 'linux') return true
  try {
    return readlinkSync(`/proc/${pid}/cwd`) === dir
  } catch (error) {
    // Another user's process: it may well be a server, so it counts as one. ENOENT: just gone, or a zombie.
    return (error as NodeJS.ErrnoException).code === 'EACCES'
  }
}

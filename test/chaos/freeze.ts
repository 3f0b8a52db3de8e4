// Stops a process without ending it. A shell wakes it again, so that it does not stay frozen for ever when the
// run itself is killed meanwhile.

import { spawn } from 'node:child_process'
import { once } from 'node:events'

/** Resolves when it runs again. */
export async function freezeProcess(pid: number, durationMs: number): Promise<void> {
  const script = `kill -STOP ${pid}; sleep ${(durationMs / 1000).toFixed(3)}; kill -CONT ${pid}`
  const shell = spawn('/bin/sh', ['-c', script], { detached: true, stdio: 'ignore' })
  await once(shell, 'exit')
}

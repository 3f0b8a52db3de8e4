/** `npm start`: everything that Millrace needs on one machine, Redis included, until Ctrl-C. */
import { join } from 'node:path'
import { projectRoot } from './project-root.ts'
import { runEverything } from './run-everything.ts'
import { stopSignals } from './stop-signals.ts'
import { startLog } from './terminal-log.ts'

const root = projectRoot()
const log = startLog()
const { stop, kill } = stopSignals()
stop.addEventListener('abort', () =>
  log.info({ service: 'start' }, 'ending the gateway and the worker, then Redis (again: at once)'),
)

try {
  process.exitCode = await runEverything({
    gateway: join(root, 'dist/gateway/main.js'),
    worker: join(root, 'dist/worker/main.js'),
    dataDir: join(root, '.millrace/redis'),
    env: process.env,
    log,
    stop,
    kill,
  })
} catch (error) {
  process.exitCode = 1
  process.stderr.write(`${(error as Error).message}\n`)
}
if (kill.aborted) process.exitCode = 130

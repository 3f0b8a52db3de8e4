// Cuts runs off in threads at all times of their lives, also while the threads load what they run, and stops the pool in
// the middle: the process has to live through it. Says at last how many runs were cut off.

import { HandlerThreads } from '../../dist/worker/handler-threads.js'
import { TaskRun } from '../../dist/worker/task-run.js'

const RUNS_AT_ONCE = 8
const RUNS = 120
/** A little longer than a thread takes to load. */
const LONGEST_LIFE_MS = 250

const file = process.argv[2]
const sink = { append: async () => undefined, report: () => undefined }
const threads = new HandlerThreads({
  concurrency: RUNS_AT_ONCE,
  httpTargets: '',
  log: { error: (_, text) => process.stderr.write(`${text}\n`) },
})
let runs = 0
let cutOff = 0

async function runOne() {
  const run = new TaskRun(`task-${++runs}`, 'lock')
  const timer = setTimeout(() => run.stop('lock-lost'), (LONGEST_LIFE_MS * runs) / RUNS)
  const task = { id: run.taskId, attempt: 1, input: { mode: 'heed' } }
  await threads.run({ file }, task, run, sink).catch(() => cutOff++)
  clearTimeout(timer)
}

async function runOnAndOn() {
  while (runs < RUNS) await runOne()
}

await Promise.all(Array.from({ length: RUNS_AT_ONCE }, runOnAndOn))
// Of those whose threads have only begun to load.
const last = Array.from({ length: RUNS_AT_ONCE }, runOne)
await threads.stop()
await Promise.all(last)
process.stdout.write(`${cutOff}\n`)

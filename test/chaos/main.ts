// `npm run chaos -- --minutes N [--seed S] [--clients N]`: the long form of the chaos test.

import { randomInt } from 'node:crypto'
import { parseArgs } from 'node:util'
import { stopSignals } from '../../dev/stop-signals.ts'
import { runChaos } from './run.ts'

const TOLD_DIFFERENCES = 10
const PAUSE_MS = [200, 2_800] as const
/** Takes less than a second; a gateway that waits for its own slow look at quiet channels takes up to ten. */
const WHOLE_WITHIN_MS = 5_000

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '2' },
    seed: { type: 'string' },
    clients: { type: 'string', default: '200' },
  },
})
const minutes = positive('minutes', values.minutes)
const clients = Math.round(positive('clients', values.clients))
const seed = values.seed === undefined ? randomInt(0x7fffffff) : wholeNumber('seed', values.seed)

const print = (line: string): void => void process.stdout.write(`${line}\n`)
const { stop, kill } = stopSignals()
// All processes of the run notice that this one is gone, and end.
kill.addEventListener('abort', () => process.exit(1))

print(`seed ${seed}`)
const lengthMs = minutes * 60_000
const report = await runChaos({
  seed,
  lengthMs,
  clients,
  pauseMs: PAUSE_MS,
  wholeWithinMs: WHOLE_WITHIN_MS,
  onProgress: print,
  stop,
})
print(`\n${report.summary}\n`)
for (const difference of report.differences.slice(0, TOLD_DIFFERENCES)) print(`DIFFERS  ${difference}`)
const { length } = report.differences
if (length > TOLD_DIFFERENCES) print(`… and ${length - TOLD_DIFFERENCES} more`)
print(
  length === 0 ? 'PASSED: nothing lost, doubled or out of order' : `FAILED: the logs are in ${report.folder}`,
)
process.exitCode = length === 0 ? 0 : 1
print(`seed ${seed}`)

function positive(name: string, text: string): number {
  const number = Number(text)
  if (number > 0) return number
  throw new Error(`--${name} must be a number above 0, not ${text}`)
}

function wholeNumber(name: string, text: string): number {
  const number = Number(text)
  if (Number.isInteger(number) && number >= 0 && number <= 0x7fffffff) return number
  throw new Error(`--${name} must be a whole number from 0 to ${0x7fffffff}, not ${text}`)
}

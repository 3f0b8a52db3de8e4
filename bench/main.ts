// `npm run bench`: how fast Millrace is on this machine, beside references that are measured in the same run.
// Writes a table, a picture and all figures to bench/results/.

import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { projectRoot } from '../dev/project-root.ts'
import { neutralClient } from './neutral-client.ts'
import { describeMachine } from './report/machine.ts'
import { picture } from './report/picture.ts'
import { markdown, type Report } from './report/table.ts'
import { runWorkload } from './run-workload.ts'
import { redisVersion } from './stage.ts'
import type { Scale, Workload } from './workload.ts'
import { WORKLOADS } from './workloads/all.ts'

const USAGE = `npm run bench -- [--quick] [--only NAME]... [--rounds N] [--profile]
  --quick    short runs, one round: a rough idea within three minutes
  --only     only this workload; can be given several times
  --rounds   how often each side is measured (3; 1 with --quick). Where a load can be paused a round
             is not one measurement of each side but several short ones in turns
  --profile  one more run of each workload with a CPU profile of the gateway
workloads: ${WORKLOADS.map(({ name }) => name).join(', ')}
`

const WHOLE: Scale = { warmUpMs: 1_500, measureMs: 3_000, share: 1 }
const QUICK: Scale = { warmUpMs: 500, measureMs: 1_500, share: 0.25 }
const ROUNDS = 3
const MAX_ROUNDS = 20

const RESULTS = join(projectRoot(), 'bench/results')

interface Options {
  readonly quick: boolean
  readonly profile: boolean
  readonly rounds: number
  readonly workloads: readonly Workload[]
  /** Whether all of it runs, in full: only such a run is kept as the latest. */
  readonly whole: boolean
}

/** Throws an Error that says what can be given. */
function readOptions(): Options {
  try {
    return parseOptions()
  } catch (error) {
    throw new Error(`${(error as Error).message}\n${USAGE}`)
  }
}

function parseOptions(): Options {
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      profile: { type: 'boolean', default: false },
      only: { type: 'string', multiple: true, default: [] },
      rounds: { type: 'string' },
    },
  })
  const { quick, profile, only } = values
  const rounds = values.rounds === undefined ? (quick ? 1 : ROUNDS) : Number(values.rounds)
  if (!Number.isInteger(rounds) || rounds < 1 || rounds > MAX_ROUNDS) {
    throw new Error(`--rounds must be a whole number from 1 to ${MAX_ROUNDS}`)
  }
  const unknown = only.find(name => !WORKLOADS.some(workload => workload.name === name))
  if (unknown !== undefined) throw new Error(`there is no workload ${unknown}`)
  const workloads = WORKLOADS.filter(({ name }) => only.length === 0 || only.includes(name))
  return { quick, profile, rounds, workloads, whole: !quick && only.length === 0 && rounds >= ROUNDS }
}

async function benchmark(options: Options): Promise<Report> {
  const { quick, rounds, workloads, profile } = options
  const folder = process.env.MILLRACE_LOADGEN
  const client = folder ? await neutralClient(folder) : null
  const startedAt = new Date()
  const machine = await describeMachine(await redisVersion())
  const outcomes = []
  const failures = []
  for (const workload of workloads) {
    try {
      const outcome = await runWorkload(workload, {
        scale: quick ? QUICK : WHOLE,
        rounds,
        neutralClient: client,
        profile: profile ? join(RESULTS, `profile-${workload.name}`) : null,
        onStep: say,
      })
      outcomes.push(outcome)
    } catch (error) {
      failures.push({ name: workload.name, reason: (error as Error).message })
      say(`${workload.name} broke off: ${(error as Error).message}`)
    }
  }
  const seconds = (Date.now() - startedAt.getTime()) / 1000
  return { startedAt: startedAt.toISOString(), seconds, rounds, quick, machine, outcomes, failures }
}

async function write(report: Report, name: string): Promise<string> {
  const table = markdown(report, `${name}.svg`)
  await writeFile(join(RESULTS, `${name}.json`), `${JSON.stringify(report, fiveDigits)}\n`)
  await writeFile(join(RESULTS, `${name}.md`), table)
  await writeFile(join(RESULTS, `${name}.svg`), picture(report.outcomes))
  return table
}

/** More say nothing, and there are thousands of figures. */
function fiveDigits(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(5)) : value
}

function say(line: string): void {
  process.stdout.write(`${new Date().toISOString().slice(11, 19)} ${line}\n`)
}

try {
  if (process.platform !== 'linux') throw new Error('the benchmark reads /proc and needs Linux')
  const options = readOptions()
  await mkdir(RESULTS, { recursive: true })
  const report = await benchmark(options)
  const name = options.whole ? 'latest' : 'partial'
  process.stdout.write(`\n${await write(report, name)}\nwritten to ${join(RESULTS, name)}.{md,json,svg}\n`)
  // A target that is missed is a finding; a lost event or a workload that broke off is a fault.
  const faulty = report.outcomes.some(({ faults }) => faults.length > 0) || report.failures.length > 0
  process.exitCode = faulty ? 1 : 0
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`)
  process.exitCode = 1
}

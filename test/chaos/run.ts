// One chaos run, from the first process to the verdict.

import { createWriteStream, type WriteStream } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Counters } from './counters.ts'
import { bringToRest } from './ending.ts'
import { Fleet } from './fleet.ts'
import { Gateways } from './gateways.ts'
import { describeFault, type Fault, planFaults } from './plan.ts'
import { Random } from './random.ts'
import { summarize } from './summary.ts'
import { Traffic } from './traffic.ts'
import { judge } from './verdict.ts'

export interface ChaosOptions {
  /** A whole number of 32 bits, from which the faults and the traffic are drawn. */
  readonly seed: number
  /** How long things go wrong. */
  readonly lengthMs: number
  readonly clients: number
  /** Between the beginnings of two faults, at least and at most. */
  readonly pauseMs: readonly [number, number]
  /** At the end, after pub/sub was cut, clients have to be whole again within this time. */
  readonly wholeWithinMs: number
  /** Told what happens as it happens. */
  readonly onProgress: (line: string) => void
  /** Breaks the run off. */
  readonly stop?: AbortSignal
}

export interface ChaosReport {
  /** In words; empty when all is as it should be. */
  readonly differences: readonly string[]
  /** Some lines for people. */
  readonly summary: string
  /** Where the logs of the processes are, kept where something differs; else null. */
  readonly folder: string | null
}

const GATEWAYS = 3
const WORKERS = 2
const STATUS_MS = 10_000
/** Of what must not be; what comes on top is only counted. */
const MAX_SURPRISES = 200

export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-chaos-'))
  const journal = createWriteStream(join(folder, 'run.log'))
  const run = new ChaosRun(options, folder, journal)
  const report = await run
    .report()
    .catch(error => brokenOff(options.stop?.aborted ? 'it was told to stop' : error))
  journal.end()
  if (report.differences.length === 0) {
    await rm(folder, { recursive: true, force: true })
    return { ...report, folder: null }
  }
  const text = `${report.summary}\n\n${report.differences.join('\n')}\n`
  await writeFile(join(folder, 'differences.txt'), text)
  return { ...report, folder }
}

function brokenOff(error: unknown): Omit<ChaosReport, 'folder'> {
  const why = error instanceof Error ? error.stack : String(error)
  return { differences: [`the run broke off: ${why}`], summary: '' }
}

class ChaosRun {
  readonly #options: ChaosOptions
  readonly #folder: string
  readonly #journal: WriteStream
  readonly #random: Random
  readonly #startedAt = performance.now()
  readonly #surprises: string[] = []
  #begun: Fault[] = []

  constructor(options: ChaosOptions, folder: string, journal: WriteStream) {
    this.#options = options
    this.#folder = folder
    this.#journal = journal
    this.#random = new Random(options.seed)
  }

  async report(): Promise<Omit<ChaosReport, 'folder'>> {
    const { lengthMs, pauseMs } = this.#options
    const plan = planFaults(this.#random.fork(), { lengthMs, pauseMs, gateways: GATEWAYS, workers: WORKERS })
    const redisLog = createWriteStream(join(this.#folder, 'redis.log'))
    const fleet = await Fleet.start({
      gateways: GATEWAYS,
      workers: WORKERS,
      folder: this.#folder,
      onSurprise: this.#surprise,
      onRedisOutput: line => redisLog.write(`${line}\n`),
    })
    try {
      return await this.#test(fleet, plan)
    } finally {
      await fleet.close()
      redisLog.end()
    }
  }

  async #test(fleet: Fleet, plan: readonly Fault[]): Promise<Omit<ChaosReport, 'folder'>> {
    const { clients, lengthMs } = this.#options
    const traffic = new Traffic({
      clients,
      lengthMs,
      gateways: new Gateways(fleet.gateways),
      random: this.#random.fork(),
      clock: this.#clock,
      onSurprise: this.#surprise,
    })
    const counters = new Counters(fleet.gateways)
    const over = new AbortController()
    const counting = counters.run(over.signal)
    const status = setInterval(() => this.#say(statusOf(traffic)), STATUS_MS)
    try {
      traffic.begin()
      await this.#inflict(plan, fleet)
      this.#say('the faults are over')
      const { underWay, wholeAfterMs } = await bringToRest(fleet, traffic, this.#options.wholeWithinMs)
      this.#say('all is at rest')
      await counters.look()
      const verdict = await judge(fleet.control, traffic)
      const differences = [...this.#surprises, ...underWay, ...verdict.differences]
      const faults = this.#begun.map(({ kind }) => kind)
      return {
        differences,
        summary: summarize({ ...this.#options, faults, traffic, counters, verdict, wholeAfterMs }),
      }
    } finally {
      clearInterval(status)
      over.abort()
      await traffic.end()
      await counting
    }
  }

  async #inflict(plan: readonly Fault[], fleet: Fleet): Promise<void> {
    const { lengthMs, stop } = this.#options
    const from = this.#clock()
    const until = (ms: number) =>
      delay(Math.max(0, from + ms - this.#clock()), undefined, stop && { signal: stop })
    for (const fault of plan) {
      await until(fault.atMs)
      fleet.inflict(fault, () => {
        this.#begun.push(fault)
        this.#say(describeFault(fault))
      })
    }
    await until(lengthMs)
    await fleet.recovered()
  }

  readonly #clock = (): number => performance.now() - this.#startedAt

  readonly #surprise = (text: string): void => {
    this.#say(`surprise: ${text}`)
    if (this.#surprises.length < MAX_SURPRISES) this.#surprises.push(`${this.#seconds()}: ${text}`)
  }

  #say(text: string): void {
    const line = `${this.#seconds()}  ${text}`
    this.#journal.write(`${line}\n`)
    this.#options.onProgress(line)
  }

  #seconds(): string {
    return `${(this.#clock() / 1000).toFixed(1).padStart(6)} s`
  }
}

function statusOf({ clients, followers, publishers }: Traffic): string {
  const records = clients.flatMap(client => [...client.records.values()])
  const events = records.reduce((sum, record) => sum + record.length, 0)
  const publishes = publishers.reduce((sum, publisher) => sum + publisher.publishes.length, 0)
  const tasks = followers.reduce((sum, follower) => sum + follower.submissions.size, 0)
  return `so far ${publishes} publishes, ${tasks} tasks, ${events} events delivered`
}

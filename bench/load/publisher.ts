// The publisher's process: publishes numbered events over keep-alive connections, either as fast as the server
// answers (closed loop) or at a fixed rate, each with the time when it was due.

import { setTimeout as delay } from 'node:timers/promises'
import { serveCommands } from '../command-process.ts'
import { nowUs } from './clock.ts'
import { LatencyHistogram } from './latency-histogram.ts'
import { PublishConnection } from './publish-connection.ts'

export interface ConnectRequest {
  readonly port: number
  /** `%d` is the channel's number. */
  readonly path: string
  readonly connections: number
  /** Channel k belongs to connection k modulo `connections`; a single channel belongs to all of them. */
  readonly channels: number
  /** Characters that fill an event up. */
  readonly padding: number
}

export interface PublishRequest {
  /** Ends after this long, … */
  readonly durationMs?: number
  /** … or after so many events. */
  readonly count?: number
  /** Events a second of all connections together; without it the loop is closed. */
  readonly rate?: number
  /** Never more than so many events ahead of the deliveries that the viewers' process counts, … */
  readonly window?: number
  /** … with so many deliveries an event. */
  readonly fanOut?: number
}

/** The last number that a connection has published in a channel. */
export interface LastPublished {
  readonly channel: number
  readonly publisher: number
  readonly seq: number
}

export interface Published {
  readonly events: number
  readonly seconds: number
  /** Request to answer. */
  readonly answerP50Ms: number
  readonly answerP99Ms: number
  readonly cpuShare: number
  readonly last: LastPublished[]
  /** Body of the last answer. */
  readonly lastAnswer: string
}

/** A publisher that is ahead of the viewers looks again this often. */
const WINDOW_STEP_MS = 1

/** One connection with the channels that it publishes to in turn. */
interface Lane {
  readonly publisher: number
  readonly connection: PublishConnection
  readonly channels: { channel: number; path: string; seq: number }[]
  turn: number
}

const lanes: Lane[] = []
const answers = new LatencyHistogram()
let padding = ''
/** Deliveries that the viewers' process has counted. */
let delivered = 0
/** Events published from the beginning. */
let published = 0
let lastAnswer = ''

async function connect(request: ConnectRequest): Promise<void> {
  padding = 'x'.repeat(request.padding)
  for (let publisher = 0; publisher < request.connections; publisher++) {
    const connection = await PublishConnection.open(request.port)
    const channels = channelsOf(publisher, request).map(channel => ({
      channel,
      path: request.path.replace('%d', String(channel)),
      seq: 0,
    }))
    lanes.push({ publisher, connection, channels, turn: 0 })
  }
}

function channelsOf(publisher: number, { channels, connections }: ConnectRequest): number[] {
  if (channels === 1) return [0]
  return Array.from({ length: channels }, (_, k) => k).filter(k => k % connections === publisher)
}

/** Gives an event its time when it may go out; null when the publishing is over. */
type Pace = () => Promise<number | null>

async function publish(request: PublishRequest): Promise<Published> {
  const startedUs = nowUs()
  const startedAt = published
  const cpu = process.cpuUsage()
  answers.clear()
  const pace = paceOf(request, startedUs)
  await Promise.all(lanes.map(lane => publishOver(lane, pace)))
  const { user, system } = process.cpuUsage(cpu)
  const passedUs = nowUs() - startedUs
  return {
    events: published - startedAt,
    seconds: passedUs / 1e6,
    answerP50Ms: answers.percentileMs(0.5),
    answerP99Ms: answers.percentileMs(0.99),
    cpuShare: (user + system) / passedUs,
    last: lanes.flatMap(({ publisher, channels }) =>
      channels.filter(({ seq }) => seq > 0).map(({ channel, seq }) => ({ channel, publisher, seq })),
    ),
    lastAnswer,
  }
}

async function publishOver(lane: Lane, pace: Pace): Promise<void> {
  for (let timeUs = await pace(); timeUs !== null; timeUs = await pace()) {
    const target = lane.channels[lane.turn++ % lane.channels.length]!
    const body = eventBody(++target.seq, timeUs, lane.publisher)
    const sentUs = nowUs()
    lastAnswer = await lane.connection.post(target.path, body)
    answers.record(nowUs() - sentUs)
  }
}

/** What the viewers' process looks for: `seq` numbers a connection's events in a channel, `t` is in microseconds. */
function eventBody(seq: number, timeUs: number, publisher: number): string {
  return `{"type":"m","data":{"seq":${seq},"t":${timeUs},"p":${publisher},"pad":"${padding}"}}`
}

function paceOf(request: PublishRequest, startUs: number): Pace {
  const { durationMs = Number.POSITIVE_INFINITY, count = Number.POSITIVE_INFINITY, rate } = request
  const endUs = startUs + durationMs * 1000
  let handedOut = 0
  return async () => {
    const mine = handedOut++
    const dueUs = rate === undefined ? 0 : startUs + (mine * 1e6) / rate
    if (mine >= count || dueUs >= endUs) return null
    if (rate === undefined) await untilWithinWindow(request, endUs)
    else await untilDue(dueUs)
    if (nowUs() >= endUs) return null
    published++
    return rate === undefined ? nowUs() : Math.round(dueUs)
  }
}

async function untilDue(dueUs: number): Promise<void> {
  const waitMs = (dueUs - nowUs()) / 1000
  if (waitMs > 0) await delay(waitMs)
}

async function untilWithinWindow({ window, fanOut = 1 }: PublishRequest, endUs: number): Promise<void> {
  if (window === undefined) return
  while (published - delivered / fanOut >= window && nowUs() < endUs) await delay(WINDOW_STEP_MS)
}

const commands = { connect, publish }
export type PublisherCommands = typeof commands

serveCommands(commands, value => {
  delivered = value
})

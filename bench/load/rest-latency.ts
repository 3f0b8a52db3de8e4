// The process that measures latency at rest: one viewer and one publisher in the same event loop, one event at
// a time.

import { setTimeout as delay } from 'node:timers/promises'
import { serveCommands } from '../command-process.ts'
import { nowUs } from './clock.ts'
import { EventParser } from './event-parser.ts'
import { PublishConnection } from './publish-connection.ts'
import { openViewer } from './viewer.ts'

export interface RestRequest {
  readonly port: number
  readonly streamPath: string
  readonly publishPath: string
  readonly events: number
}

/** Medians and 99th percentiles in milliseconds. */
export interface RestLatency {
  readonly sentToReadP50Ms: number
  readonly sentToReadP99Ms: number
  readonly sentToAnsweredP50Ms: number
  /** Below 0 where the event is there before the answer. */
  readonly answeredToReadP50Ms: number
}

/** The server comes to rest between two events. */
const REST_MS = 4

/** The first ones find connections that are new. */
const WARM_UP_EVENTS = 20

const EVENT_TIMEOUT_MS = 5_000

async function measure({ port, streamPath, publishPath, events }: RestRequest): Promise<RestLatency> {
  let onEvent = (): void => undefined
  const target = { port, path: streamPath, headers: {}, stalled: false }
  await openViewer(target, new EventParser(), ({ numbered }) => numbered.length > 0 && onEvent())
  const connection = await PublishConnection.open(port)
  const sentToRead: number[] = []
  const sentToAnswered: number[] = []
  const answeredToRead: number[] = []
  for (let seq = 1; seq <= WARM_UP_EVENTS + events; seq++) {
    const read = new Promise<number>((resolve, reject) => {
      const late = setTimeout(reject, EVENT_TIMEOUT_MS, new Error(`event ${seq} did not come`))
      onEvent = () => {
        clearTimeout(late)
        resolve(nowUs())
      }
    })
    const sent = nowUs()
    const answered = connection
      .post(publishPath, `{"type":"m","data":{"seq":${seq},"t":${sent},"p":0}}`)
      .then(nowUs)
    const [readUs, answeredUs] = await Promise.all([read, answered])
    await delay(REST_MS)
    if (seq <= WARM_UP_EVENTS) continue
    sentToRead.push(readUs - sent)
    sentToAnswered.push(answeredUs - sent)
    answeredToRead.push(readUs - answeredUs)
  }
  return {
    sentToReadP50Ms: percentileMs(sentToRead, 0.5),
    sentToReadP99Ms: percentileMs(sentToRead, 0.99),
    sentToAnsweredP50Ms: percentileMs(sentToAnswered, 0.5),
    answeredToReadP50Ms: percentileMs(answeredToRead, 0.5),
  }
}

function percentileMs(valuesUs: number[], share: number): number {
  const sorted = valuesUs.sort((a, b) => a - b)
  return (sorted[Math.ceil(share * sorted.length) - 1] ?? Number.NaN) / 1000
}

const commands = { measure }
export type RestCommands = typeof commands

serveCommands(commands)

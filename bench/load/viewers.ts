// The load client's process: holds the viewers, checks every event they get, and says what it saw.

import type { Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { giveNotice, serveCommands } from '../command-process.ts'
import { nowUs } from './clock.ts'
import { EventParser, type ParsedEvents } from './event-parser.ts'
import { LatencyHistogram } from './latency-histogram.ts'
import type { LastPublished } from './publisher.ts'
import { type Faults, SequenceCheck } from './sequence-check.ts'
import { openViewer } from './viewer.ts'

export interface OpenRequest {
  readonly port: number
  /** `%d` is the channel's number. */
  readonly path: string
  readonly channels: number
  /** Viewer i follows channel i modulo `channels`. */
  readonly viewers: number
  readonly headers?: Record<string, string>
  /** The first number expected of every publisher; default 1. */
  readonly first?: number
  /** They read nothing, and nothing is expected of them. */
  readonly stalled?: boolean
}

/** Since the last `mark`. */
export interface Seen {
  readonly expected: number
  readonly received: number
  readonly missing: number
  readonly doubled: number
  readonly reordered: number
  readonly gaps: number
  /** Viewers whose connection was closed under them. */
  readonly closed: number
  /** From the first event to the last. */
  readonly spanMs: number
  /** From the mark to the last event. */
  readonly lastAfterMs: number
  readonly p50Ms: number
  readonly p99Ms: number
  /** This process's CPU time / the time that passed. */
  readonly cpuShare: number
}

/** Connects that wait for their answer at once. */
const OPENING = 128

/** How often the count of deliveries is reported, and looked at while events are awaited. */
const TICK_MS = 10

/** Silence after which what is missing no longer comes. */
const QUIET_MS = 2_000

/** However slow the last events are, they are awaited no longer. */
const SETTLE_MS = 45_000

interface Viewer {
  readonly channel: number
  readonly check: SequenceCheck
}

/** Those of which something is expected. */
const viewers: Viewer[] = []
const sockets = new Set<Socket>()
const parser = new EventParser()
const latencies = new LatencyHistogram()
const faults: Faults = { missing: 0, doubled: 0, reordered: 0 }
let gaps = 0
let closed = 0
/** Different events that the present viewers have got, from the beginning. */
let delivered = 0
let deliveredBefore = 0
let received = 0
let firstUs = 0
let lastUs = 0
let markUs = nowUs()
let markCpu = process.cpuUsage()

async function open(request: OpenRequest): Promise<{ seconds: number }> {
  const startedUs = nowUs()
  let next = 0
  const openNext = async (): Promise<void> => {
    while (next < request.viewers) await openOne(request, next++ % request.channels)
  }
  await Promise.all(Array.from({ length: Math.min(OPENING, request.viewers) }, openNext))
  return { seconds: (nowUs() - startedUs) / 1e6 }
}

async function openOne(request: OpenRequest, channel: number): Promise<void> {
  const { port, path, headers = {}, first = 1, stalled = false } = request
  const check = new SequenceCheck(first, faults)
  const target = { port, path: path.replace('%d', String(channel)), headers, stalled }
  const socket = await openViewer(target, parser, stalled ? ignore : events => take(check, events))
  sockets.add(socket)
  if (stalled) return
  viewers.push({ channel, check })
  socket.on('close', onClosed)
}

function ignore(): void {}

function onClosed(this: Socket): void {
  if (sockets.has(this)) closed++
}

/** Lets all viewers go; nothing more is expected of them. */
function closeAll(): void {
  const open = [...sockets]
  sockets.clear()
  viewers.length = 0
  delivered = 0
  // With a reset no port stays taken for a minute.
  for (const socket of open) socket.resetAndDestroy()
}

function take(check: SequenceCheck, { numbered, gaps: told }: ParsedEvents): void {
  gaps += told
  if (numbered.length === 0) return
  const now = nowUs()
  for (const { publisher, seq, timeUs } of numbered) {
    received++
    if (check.see(publisher, seq)) delivered++
    latencies.record(now - timeUs)
  }
  if (firstUs === 0) firstUs = now
  lastUs = now
}

function mark(): void {
  received = 0
  deliveredBefore = delivered
  firstUs = 0
  lastUs = 0
  latencies.clear()
  markUs = nowUs()
  markCpu = process.cpuUsage()
}

/** Waits until every viewer has all that was published, up to a bound, and says what came. */
async function settle({ last, first = 1 }: { last: LastPublished[]; first?: number }): Promise<Seen> {
  const ofChannel = new Map<number, LastPublished[]>()
  for (const one of last) ofChannel.set(one.channel, [...(ofChannel.get(one.channel) ?? []), one])
  const expectedOf = ({ channel }: Viewer): number =>
    (ofChannel.get(channel) ?? []).reduce((sum, { seq }) => sum + seq + 1 - first, 0)
  const expected = viewers.reduce((sum, viewer) => sum + expectedOf(viewer), 0)
  await untilDelivered(expected)
  let tail = 0
  for (const { channel, check } of viewers) {
    for (const { publisher, seq } of ofChannel.get(channel) ?? []) tail += check.missingUpTo(publisher, seq)
  }
  return summary(expected - deliveredBefore, faults.missing + tail)
}

async function untilDelivered(expected: number): Promise<void> {
  const end = nowUs() + SETTLE_MS * 1000
  let quietSince = nowUs()
  for (let before = delivered; delivered < expected && nowUs() < end; before = delivered) {
    await delay(TICK_MS)
    if (delivered > before) quietSince = nowUs()
    else if (nowUs() - quietSince > QUIET_MS * 1000) return
  }
}

function summary(expected: number, missing: number): Seen {
  const { user, system } = process.cpuUsage(markCpu)
  return {
    expected,
    received,
    ...faults,
    missing,
    gaps,
    closed,
    spanMs: (lastUs - firstUs) / 1000,
    lastAfterMs: (lastUs - markUs) / 1000,
    p50Ms: latencies.percentileMs(0.5),
    p99Ms: latencies.percentileMs(0.99),
    cpuShare: (user + system) / (nowUs() - markUs),
  }
}

let noticed = 0
setInterval(() => {
  if (delivered !== noticed) giveNotice(delivered)
  noticed = delivered
}, TICK_MS)

const commands = { open, closeAll, mark, settle }
export type ViewerCommands = typeof commands

serveCommands(commands)

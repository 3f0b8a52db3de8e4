// A client that stops reading now and then while more is published to its channel than the buffers on the way
// hold, so that its gateway has to let it fall behind and read the log at its own pace.

import { setTimeout as delay } from 'node:timers/promises'
import type { Publisher } from './publisher.ts'
import type { Random } from './random.ts'
import type { StreamClient } from './stream-client.ts'

export interface SlowReaderOptions {
  readonly random: Random
  readonly lengthMs: number
  readonly stop: AbortSignal
}

/** 6.7 MB in all: the kernel takes up to 4 MiB of a socket that nobody reads. */
const BATCHES = 26
const BATCH_EVENTS = 5
const EVENT_CHARS = 52_000
/** Every burst stays in the log until the end, so there are no more than this, however long the run. */
const MAX_BURSTS = 40
const PAUSE_MS = [1_000, 5_000] as const
const CONNECT_LOOKS = 100
const LOOK_MS = 20

export async function readSlowly(
  reader: StreamClient,
  publisher: Publisher,
  channel: string,
  { random, lengthMs, stop }: SlowReaderOptions,
): Promise<void> {
  for (let burst = 0; burst < MAX_BURSTS && !stop.aborted; burst++) {
    await pause(lengthMs / MAX_BURSTS + random.int(...PAUSE_MS), stop)
    // A new connection: the kernel gives more room to one that was read from quickly.
    reader.cut()
    for (let look = 0; look < CONNECT_LOOKS && !reader.reading; look++) await delay(LOOK_MS)
    reader.pause()
    for (let batch = 0; batch < BATCHES && !stop.aborted; batch++) {
      await publisher.publishJson(channel, BATCH_EVENTS, { paddingChars: EVENT_CHARS })
    }
    reader.resume()
  }
}

async function pause(ms: number, stop: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal: stop }).catch(() => undefined)
}

// What is published comes out of every stream as it went in, and nothing beside it.

import { afterAll, beforeAll, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { call } from '../support/http.ts'
import { openViewer, type SeenEvent } from '../support/viewer.ts'
import { type Broker, expectOnlyFrames, startBroker } from './broker.ts'
import { hostileJson, hostileText, quoted, sameJson } from './hostile-values.ts'

let broker: Broker

beforeAll(async () => {
  broker = await startBroker()
})
afterAll(() => broker?.close())

interface Published {
  readonly type: string
  /** JSON text. */
  readonly data: string
}

const eventType = fc.stringMatching(/^[A-Za-z0-9_.-]{1,64}$/)
const published = fc.array(fc.record({ type: eventType, data: hostileJson }), { minLength: 1, maxLength: 4 })
let rooms = 0

/** What a connection sees until `count` events have come. */
async function watch(path: string, count: number): Promise<SeenEvent[]> {
  const viewer = await openViewer(`${broker.url}/v1/${path}from=earliest`)
  await viewer.until(({ events }) => events.length >= count)
  viewer.cut()
  expectOnlyFrames(viewer.raw, viewer.events)
  return viewer.events
}

/** Both as text, since matchers differ on what they hold of `__proto__` and -0. */
const asPublished = ({ type, data }: { type: string; data: unknown }): Published => ({
  type,
  data: JSON.stringify(data),
})
const inEnvelope = ({ data }: SeenEvent) => asPublished(JSON.parse(data))

test('any JSON is read again as it was published, on every kind of stream', async () => {
  const roundTrip = async (events: readonly Published[]): Promise<void> => {
    const channel = `room:${++rooms}`
    const body = `[${events.map(({ type, data }) => `{"type":${quoted(type)},"data":${data}}`).join()}]`
    const answer = await call(`${broker.url}/v1/channels/${channel}/events`, { body })
    expect(answer).toMatchObject({ status: 201 })

    const wanted = events.map(({ type, data }) => ({ type, data: sameJson(data) }))
    const alone = await watch(`channels/${channel}/events?`, events.length)
    expect(alone.map(({ type, data }) => ({ type, data: sameJson(data) }))).toEqual(wanted)
    const among = await watch(`events?channel=${channel}&channel=other&`, events.length)
    expect(among.map(inEnvelope)).toEqual(wanted)
    expect(among.map(({ type }) => type)).toEqual(events.map(({ type }) => type))
    const unnamed = await watch(`channels/${channel}/events?named=false&`, events.length)
    expect(unnamed.map(inEnvelope)).toEqual(wanted)
    const headers = { Accept: 'application/json' }
    const history = await call(`${broker.url}/v1/channels/${channel}/events`, { headers })
    expect(history.body.events.map(asPublished)).toEqual(wanted)
  }
  await fc.assert(fc.asyncProperty(published, roundTrip), { numRuns: 80 })
  await broker.expectUnharmed()
})

test('any text is read again as it was published, its line ends as one kind', async () => {
  const roundTrip = async (type: string, text: string): Promise<void> => {
    const channel = `text:${++rooms}`
    const url = `${broker.url}/v1/channels/${channel}/events?type=${type}`
    const headers = { 'Content-Type': 'text/plain' }
    const answer = await call(url, { method: 'POST', headers, body: Buffer.from(text) })
    expect(answer).toMatchObject({ status: 201 })
    // In UTF-8 there are no lone surrogates.
    const sent = Buffer.from(text).toString()
    const [alone] = await watch(`channels/${channel}/events?`, 1)
    expect(alone).toMatchObject({ type, data: sent.replace(/\r\n|\r/g, '\n') })
    const [among] = await watch(`events?channel=${channel}&`, 1)
    expect(JSON.parse(among?.data ?? '')).toMatchObject({ type, data: sent })
  }
  await fc.assert(fc.asyncProperty(eventType, hostileText, roundTrip), { numRuns: 150 })
  await broker.expectUnharmed()
})

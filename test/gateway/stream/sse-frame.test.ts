import { describe, expect, test } from '@jest/globals'
import { createParser, type EventSourceMessage } from 'eventsource-parser'
import fc from 'fast-check'
import {
  chunkOf,
  controlFrame,
  cursorFrame,
  envelopeFrame,
  FramedEvent,
} from '../../../gateway/stream/sse-frame.ts'
import type { DataFormat } from '../../../shared/event.ts'

const event = (format: DataFormat, data: string) => ({
  epoch: 1,
  seq: 2,
  type: 'note',
  time: 1_700_000_000_000,
  format,
  data: Buffer.from(data),
})

function parse(frame: Buffer): EventSourceMessage[] {
  const events: EventSourceMessage[] = []
  createParser({ onEvent: message => events.push(message) }).feed(frame.toString())
  return events
}

describe('SSE frame', () => {
  test('of a JSON event carries its id, type and data as they are', () => {
    const framed = new FramedEvent(event('json', '{"a":"ü"}'))
    expect(framed.chunk.body.toString()).toBe('id: 1-2\nevent: note\ndata: {"a":"ü"}\n\n')
    expect(framed.data.toString()).toBe('{"a":"ü"}')
  })

  test('of any text is one event whose data are that text, with line feeds for line ends', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.oneof(fc.constantFrom('\n', '\r', ':', ' ', 'id: 9\n', 'é'), fc.string()) }),
        text => {
          const [message, ...more] = parse(new FramedEvent(event('text', text)).chunk.body)
          expect(more).toEqual([])
          // An event without data is not dispatched (WHATWG HTML): empty text is a data line, which the parser sees.
          expect(message).toEqual({
            id: '1-2',
            event: 'note',
            data: Buffer.from(text)
              .toString()
              .replace(/\r\n|\r/g, '\n'),
          })
        },
      ),
    )
  })

  test('of an envelope names channel, id, type, time and data', () => {
    const [message] = parse(envelopeFrame('room:1', event('text', 'a\nb'), 'cursor', true))
    expect(message).toMatchObject({ id: 'cursor', event: 'note' })
    expect(JSON.parse(message?.data ?? '')).toEqual({
      channel: 'room:1',
      id: '1-2',
      type: 'note',
      time: '2023-11-14T22:13:20.000Z',
      data: 'a\nb',
    })
    expect(parse(envelopeFrame('room:1', event('json', '1'), 'cursor', false))[0]?.event).toBeUndefined()
  })

  test('of a cursor alone dispatches nothing', () => {
    expect(parse(cursorFrame('1-2'))).toEqual([])
  })

  test('of a snapshot leaves the cursor alone', () => {
    const [message] = parse(
      controlFrame('snapshot', { id: 't' }, { cursor: null, envelope: null, named: true }),
    )
    expect(message).toEqual({ id: undefined, event: 'snapshot', data: '{"id":"t"}' })
  })

  test('is gathered into one HTTP chunk', () => {
    const { bytes, body } = chunkOf([Buffer.from('ab'), Buffer.from('c'.repeat(14))])
    expect(body.toString()).toBe(`ab${'c'.repeat(14)}`)
    expect(bytes.toString()).toBe(`10\r\nab${'c'.repeat(14)}\r\n`)
  })
})

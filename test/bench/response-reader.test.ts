import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { EventParser, type NumberedEvent } from '../../bench/load/event-parser.ts'
import { ResponseReader } from '../../bench/load/response-reader.ts'

const HEAD = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n'

/** Reads a response in pieces, each through the same buffer, as a socket does. */
function read(text: string, cuts: readonly number[]): { statuses: number[]; seqs: number[] } {
  const statuses: number[] = []
  const numbered: NumberedEvent[] = []
  const reader = new ResponseReader(new EventParser(), {
    onHead: status => statuses.push(status),
    onEvents: events => numbered.push(...events.numbered),
  })
  const bytes = Buffer.from(text)
  const shared = Buffer.alloc(bytes.length)
  const ends = [...new Set(cuts.map(cut => cut % bytes.length)), bytes.length].sort((a, b) => a - b)
  let start = 0
  for (const end of ends) {
    reader.read(shared, bytes.copy(shared, 0, start, end))
    shared.fill('x')
    start = end
  }
  return { statuses, seqs: numbered.map(({ seq }) => seq) }
}

const chunk = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`
const event = (seq: number): string => `id: 1-${seq}\nevent: m\ndata: {"seq":${seq},"t":5,"p":0}\n\n`

describe('a response', () => {
  test('has the same events wherever its bytes are cut, in its chunks and on the way', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 30 }),
        fc.array(fc.nat(), { maxLength: 20 }),
        (chunkSizes, cuts) => {
          let stream = ':\n\n'
          for (let seq = 1; seq <= 12; seq++) stream += event(seq)
          let body = ''
          for (let i = 0; stream.length > 0; i++) {
            const size = chunkSizes[i % chunkSizes.length]!
            body += chunk(stream.slice(0, size))
            stream = stream.slice(size)
          }
          const { statuses, seqs } = read(HEAD + body, cuts)
          expect(statuses).toEqual([200])
          expect(seqs).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
        },
      ),
    )
  })

  test('is told from a similar one that was read a moment before', () => {
    const chunks = [event(1), event(2), event(1), event(3)].map(chunk).join('')
    expect(read(HEAD + chunks, []).seqs).toEqual([1, 2, 1, 3])
  })

  test('that has no chunks is refused', () => {
    expect(() => read(HEAD.replace('chunked', 'identity'), [])).toThrow('not chunked')
  })
})

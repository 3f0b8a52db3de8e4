// What pages know without a browser: sequences, presence, samples.

import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { describe, expect, test } from '@jest/globals'
import { projectRoot } from '../../dev/project-root.ts'

const load = (name: string) => import(pathToFileURL(join(projectRoot(), 'web', name)).href)
const { SequenceCheck } = await load('sequence-check.js')
const { ChatPresence } = await load('chat-presence.js')
const { SystemSamples } = await load('system-samples.js')

const at = (seconds: number): string => new Date(1_795_000_000_000 + seconds * 1_000).toISOString()

describe('the check of a sequence', () => {
  test.each([
    ['nothing', ['7-3', '7-4', '7-5'], { received: 3, lost: 0, doubled: 0 }],
    ['a hole', ['7-3', '7-6', '7-7'], { received: 3, lost: 2, doubled: 0 }],
    ['a repetition', ['7-3', '7-4', '7-3', '7-4', '7-5'], { received: 5, lost: 0, doubled: 2 }],
    ['numbers, not texts', ['7-9', '7-10'], { received: 2, lost: 0, doubled: 0 }],
    ['a new epoch', ['7-9', '8-1', '8-2'], { received: 3, lost: 0, doubled: 0 }],
  ])('tells %s', (_, ids, counts) => {
    const check = new SequenceCheck()
    for (const id of ids) check.take(id, false)
    expect(check).toMatchObject(counts)
  })
})

describe('presence', () => {
  const here = (seconds: number, client: string) => ({
    type: 'here',
    time: at(seconds),
    client,
    name: client,
  })

  test('ends with a word, or with 25 s of silence by the clock of the broker', () => {
    const presence = new ChatPresence()
    for (const client of ['b', 'a', 'c']) presence.take(here(0, client))
    expect(presence.names).toEqual(['a', 'b', 'c'])
    presence.take({ ...here(1, 'c'), type: 'left' })
    presence.take(here(25, 'a'))
    expect(presence.names).toEqual(['a', 'b'])
    presence.take(here(26, 'a'))
    expect(presence.names).toEqual(['a'])
  })

  test('goes on after a gap, which has no time', () => {
    const presence = new ChatPresence()
    presence.take(here(0, 'a'))
    presence.take({ type: 'gap', client: 'undefined', name: '' })
    presence.take(here(26, 'b'))
    expect(presence.names).toEqual(['b'])
  })

  test('is bounded', () => {
    const presence = new ChatPresence()
    for (let i = 0; i < 1_000; i++) presence.take(here(0, `${i}`))
    expect(presence.names).toHaveLength(200)
  })
})

describe('samples of the system', () => {
  const sample = (seconds: number, name: string, data: object, type = 'worker') => ({
    type,
    time: at(seconds),
    data: { name, ...data },
  })

  test('stand in columns over the last ten minutes', () => {
    const samples = new SystemSamples()
    for (let seconds = 0; seconds <= 700; seconds += 2) samples.take(sample(seconds, 'w', { cpu: seconds }))
    const column = samples.column('w', 'cpu')
    expect(samples.times).toHaveLength(301)
    expect(samples.times.at(-1)).toBe(Date.parse(at(700)) / 1_000)
    expect([column[0], column[300], samples.column('w', 'cpu', 2)[300]]).toEqual([100, 700, 350])
    expect(samples.column('nobody', 'cpu')).toEqual(new Array(301).fill(null))
  })

  test('drop a process that is silent, and know gateways from workers', () => {
    const samples = new SystemSamples()
    samples.take(sample(0, 'old', {}))
    samples.take(sample(8, 'w10', {}))
    samples.take(sample(8, 'w9', {}))
    samples.take(sample(9, 'g', {}, 'gateway'))
    expect(samples.processes.map(({ name }: { name: string }) => name)).toEqual(['g', 'old', 'w9', 'w10'])
    samples.take(sample(11, '', { waiting: 3 }, 'queue'))
    expect(samples.processes.map(({ name }: { name: string }) => name)).toEqual(['g', 'w9', 'w10'])
    expect(samples.queue.waiting).toBe(3)
  })

  test('take what nobody sends, and a flood of names, without harm', () => {
    const samples = new SystemSamples()
    for (const data of [null, 7, 'x', {}]) samples.take({ type: 'gateway', time: at(0), data })
    samples.take({ type: 'else', time: at(0), data: { name: 'x' } })
    for (let i = 0; i < 1_000; i++) samples.take(sample(0, `w${i}`, {}))
    expect(samples.processes.length).toBeLessThan(60)
  })
})

// The short form of the chaos run, and proof that its comparison sees what it is there to see.

import { describe, expect, test } from '@jest/globals'
import { checkLog, checkOrder, checkPublishes, checkRecord, checkTaskLog } from './compare.ts'
import type { LogEntry } from './final-log.ts'
import { planFaults } from './plan.ts'
import type { Publish } from './publisher.ts'
import { Random } from './random.ts'
import { ChannelRecord } from './record.ts'
import { runChaos } from './run.ts'

const SEED = 20
const EPOCH = 1_700_000_000_000

const print = (line: string): void => void process.stdout.write(`${line}\n`)

test('nothing is lost, doubled or out of order while processes die, hang and lose their connections', async () => {
  print(`chaos seed ${SEED}`)
  const report = await runChaos({
    seed: SEED,
    lengthMs: 10_000,
    clients: 24,
    pauseMs: [200, 1_400],
    // How fast is the long form's question.
    wholeWithinMs: 60_000,
    onProgress: () => undefined,
  })
  if (report.folder) print(`${report.summary}\nthe logs are in ${report.folder}`)
  print(`chaos seed ${SEED}`)
  expect(report.differences).toEqual([])
}, 180_000)

test('the same seed gives the same faults', () => {
  const options = { lengthMs: 60_000, pauseMs: [200, 2_000], gateways: 3, workers: 2 } as const
  const plan = planFaults(new Random(1), options)
  expect(planFaults(new Random(1), options)).toEqual(plan)
  expect(planFaults(new Random(2), options)).not.toEqual(plan)
})

/** Events 1 to `count`, number n at sequence n, of alternating types. */
function logOf(count: number): LogEntry[] {
  return Array.from({ length: count }, (_, i) => ({
    epoch: EPOCH,
    seq: i + 1,
    type: i % 2 === 0 ? 'odd' : 'even',
    checksum: i + 1,
    number: i + 1,
  }))
}

function recordOf(seqs: readonly number[], start = 0): ChannelRecord {
  const record = new ChannelRecord()
  record.start = { epoch: EPOCH, seq: start }
  for (const seq of seqs) record.add({ epoch: EPOCH, seq }, seq, 0)
  return record
}

function publishOf(
  firstNumber: number,
  count: number,
  outcome: Publish['outcome'],
  firstSeq?: number,
): Publish {
  const ids = firstSeq ? Array.from({ length: count }, (_, i) => `${EPOCH}-${firstSeq + i}`) : []
  return { channel: 'c', firstNumber, count, gateway: 'g', sentMs: 0, doneMs: 1, outcome, ids }
}

describe("a client's record", () => {
  test.each([
    ['whole', recordOf([1, 2, 3, 4])],
    ['whole from where it began', recordOf([3, 4], 2)],
    ['empty, begun at the end', recordOf([], 4)],
  ])('that is %s passes', (_, record) => {
    expect(checkRecord(logOf(4), record, null)).toBeNull()
  })

  test('of some types is compared with those alone', () => {
    expect(checkRecord(logOf(4), recordOf([2, 4]), new Set(['even']))).toBeNull()
    expect(checkRecord(logOf(4), recordOf([2, 3, 4]), new Set(['even']))).toMatch(/given \S+-3 /)
  })

  test.each([
    ['lost in the middle', recordOf([1, 2, 4]), /after \S+-2 .* the log has \S+-3 .* given \S+-4 /],
    ['lost at the end', recordOf([1, 2, 3]), /the log has \S+-4 .* given nothing more/],
    ['doubled', recordOf([1, 2, 2, 3, 4]), /given \S+-2 .* for the second time/],
    ['out of order', recordOf([1, 3, 2, 4]), /the log has \S+-2 .* given \S+-3 /],
    ['more than there is', recordOf([1, 2, 3, 4, 5]), /given \S+-5, which is not in the log/],
  ])('with something %s differs', (_, record, words) => {
    expect(checkRecord(logOf(4), record, null)).toMatch(words)
  })

  test('with another content or another epoch differs', () => {
    const changed = recordOf([1])
    changed.add({ epoch: EPOCH, seq: 2 }, 99, 0)
    expect(checkRecord(logOf(2), changed, null)).toMatch(/given \S+-2 .* with another content/)
    const moved = recordOf([1])
    moved.add({ epoch: EPOCH + 1, seq: 2 }, 2, 0)
    expect(checkRecord(logOf(2), moved, null)).toMatch(/which is not in the log/)
  })
})

test('a log with a hole or a second epoch differs', () => {
  const [first, second, third] = logOf(3) as [LogEntry, LogEntry, LogEntry]
  expect(checkLog([first, second, third])).toBeNull()
  expect(checkLog([first, third])).toMatch(/has \S+-3 .* where number 2/)
  expect(checkLog([first, { ...second, epoch: EPOCH + 1 }])).toMatch(/where number 2/)
})

describe('publishes', () => {
  test.each([
    ['answered and there', [publishOf(1, 2, 'answered', 1)]],
    ['unanswered and there', [publishOf(1, 2, 'unanswered')]],
    ['refused and not there', [publishOf(1, 2, 'answered', 1), publishOf(3, 1, 'refused')]],
  ])('that are %s pass', (_, publishes) => {
    expect(checkPublishes(logOf(2), publishes)).toEqual([])
  })

  test.each([
    [
      'answered and lost',
      [publishOf(1, 2, 'answered', 1), publishOf(3, 1, 'answered', 3)],
      /is not in the log/,
    ],
    ['answered with another id', [publishOf(1, 2, 'answered', 2)], /stands in the log as/],
    ['not sent and there', [publishOf(1, 2, 'unsent')], /is in the log as/],
    ['there in part', [publishOf(1, 3, 'unanswered')], /only 2 of 3/],
    ['of nobody', [publishOf(1, 1, 'unanswered')], /nobody published number 2/],
  ])('that are %s differ', (_, publishes, words) => {
    expect(checkPublishes(logOf(2), publishes).join()).toMatch(words)
  })

  test('that stand in the log twice, in pieces or in another order differ', () => {
    const [first, second, third] = logOf(3) as [LogEntry, LogEntry, LogEntry]
    const double = { ...first, seq: 4 }
    const all = [publishOf(1, 1, 'unanswered'), publishOf(2, 1, 'unanswered'), publishOf(3, 1, 'unanswered')]
    expect(checkPublishes([first, second, third, double], all).join()).toMatch(/more than once/)
    const pieces = [publishOf(1, 2, 'unanswered'), publishOf(3, 1, 'unanswered')]
    expect(checkPublishes([first, { ...third, seq: 2 }, { ...second, seq: 3 }], pieces).join()).toMatch(
      /one piece/,
    )
    expect(checkOrder([publishOf(1, 1, 'answered', 2), publishOf(2, 1, 'answered', 1)]).join()).toMatch(
      /before/,
    )
  })
})

describe("a task's log", () => {
  const taskLog = (...types: string[]): LogEntry[] =>
    types.map((type, i) => ({ epoch: EPOCH, seq: i + 1, type, checksum: 0, number: null }))

  test('with one end passes', () => {
    expect(checkTaskLog(taskLog('queued', 'started', 'completed'), true)).toBeNull()
    expect(checkTaskLog([], false)).toBeNull()
  })

  test.each([
    ['no end', taskLog('queued', 'started'), /no terminal event/],
    ['nothing at all', [], /no terminal event/],
    ['two ends', taskLog('queued', 'completed', 'failed'), /several terminal events/],
    ['something after its end', taskLog('queued', 'completed', 'progress'), /follows/],
    ['no beginning', taskLog('started', 'completed'), /begins with/],
  ])('with %s differs', (_, log, words) => {
    expect(checkTaskLog(log, true)).toMatch(words)
  })
})

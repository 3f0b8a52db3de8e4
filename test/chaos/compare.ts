// Compares what clients, publishers and submitters remember with the log. Pure. Every difference is told in
// words; of one record the first one.

import { comparePositions, formatPosition, type Position } from '../../shared/event-id.ts'
import { isTerminal } from '../../shared/task.ts'
import type { LogEntry } from './final-log.ts'
import type { Publish } from './publisher.ts'
import type { ChannelRecord } from './record.ts'

/** The log itself: one epoch, numbered 1, 2, 3 … */
export function checkLog(log: readonly LogEntry[]): string | null {
  const first = log[0]
  for (const [i, entry] of log.entries()) {
    if (entry.seq === i + 1 && entry.epoch === first?.epoch) continue
    return `the log has ${describe(entry)} where number ${i + 1} of epoch ${first?.epoch} should stand`
  }
  return null
}

/** A client's record against the log from where it began, without the types that it did not want. */
export function checkRecord(
  log: readonly LogEntry[],
  record: ChannelRecord,
  types: ReadonlySet<string> | null,
): string | null {
  const { start } = record
  if (!start) return 'the client never learned where its stream begins'
  const expected = log.filter(
    entry =>
      comparePositions(entry, start) > 0 && (!types || types.has(entry.type) || isTerminal(entry.type)),
  )
  for (let i = 0; i < Math.max(expected.length, record.length); i++) {
    if (isSame(expected[i], record, i)) continue
    const before =
      i === 0 ? `from the start at ${formatPosition(start)}` : `after ${describe(expected[i - 1]!)}`
    return `${before} the log has ${describe(expected[i])}; the client was given ${describeGiven(record, i, log)}`
  }
  return null
}

/** A task's log: begins with `queued`, and has one terminal event, at its end, when the task has to have ended. */
export function checkTaskLog(log: readonly LogEntry[], mustHaveEnded: boolean): string | null {
  if (log.length > 0 && log[0]?.type !== 'queued') return `its log begins with ${describe(log[0])}`
  const ends = log.filter(({ type }) => isTerminal(type))
  if (ends.length > 1) return `it has several terminal events: ${ends.map(describe).join(', ')}`
  if (ends.length === 1 && log.at(-1) !== ends[0])
    return `${describe(log.at(-1))} follows ${describe(ends[0])}`
  if (ends.length === 0 && mustHaveEnded)
    return `it has no terminal event; its log ends with ${describe(log.at(-1))}`
  return null
}

/**
 * Publishes of one channel: an answered one stands in the log once, where the answer said; an unanswered one at
 * most once, and what never got out not at all; a batch as a whole and in one piece; the answered ones of
 * a publisher, which waits for each answer, in its order.
 */
export function checkPublishes(log: readonly LogEntry[], publishes: readonly Publish[]): string[] {
  const places = new Map<number, LogEntry[]>()
  for (const entry of log) {
    if (entry.number !== null) places.set(entry.number, [...(places.get(entry.number) ?? []), entry])
  }
  const differences: string[] = []
  for (const publish of publishes) {
    const fault = publishFault(publish, places)
    if (fault) differences.push(`${describePublish(publish)}: ${fault}`)
    for (const number of numbersOf(publish)) places.delete(number)
  }
  for (const [number, [entry]] of places)
    differences.push(`nobody published number ${number}, ${describe(entry)}`)
  return differences
}

function publishFault(publish: Publish, places: ReadonlyMap<number, readonly LogEntry[]>): string | null {
  const found = numbersOf(publish).map(number => places.get(number) ?? [])
  const twice = found.find(entries => entries.length > 1)
  if (twice) return `stands in the log more than once: ${twice.map(describe).join(', ')}`
  const entries = found.flat()
  if (entries.length === 0) return publish.outcome === 'answered' ? 'is not in the log' : null
  if (publish.outcome === 'unsent') return `is in the log as ${describe(entries[0])}`
  if (entries.length < publish.count)
    return `only ${entries.length} of ${publish.count} events are in the log`
  if (entries.some((entry, i) => entry.seq !== entries[0]!.seq + i))
    return 'does not stand in the log in one piece'
  const ids = entries.map(formatPosition)
  if (publish.outcome !== 'answered' || ids.join() === publish.ids.join()) return null
  return `was answered ${publish.ids.join()} and stands in the log as ${ids.join()}`
}

/** What was answered before another publish was sent stands before it in the log. */
export function checkOrder(publishes: readonly Publish[]): string[] {
  const differences: string[] = []
  let before: Publish | null = null
  for (const publish of publishes) {
    if (publish.outcome !== 'answered') continue
    if (before && compareIds(before.ids.at(-1)!, publish.ids[0]!) >= 0) {
      differences.push(
        `${describePublish(publish)} stands before ${describePublish(before)}, which was answered first`,
      )
    }
    before = publish
  }
  return differences
}

function compareIds(a: string, b: string): number {
  const [epochA, seqA] = a.split('-').map(Number)
  const [epochB, seqB] = b.split('-').map(Number)
  return comparePositions({ epoch: epochA!, seq: seqA! }, { epoch: epochB!, seq: seqB! })
}

function numbersOf({ firstNumber, count }: Publish): number[] {
  return Array.from({ length: count }, (_, i) => firstNumber + i)
}

function isSame(entry: LogEntry | undefined, record: ChannelRecord, index: number): boolean {
  return (
    entry !== undefined &&
    record.seqs[index] === entry.seq &&
    record.epochs[index] === entry.epoch &&
    record.checksums[index] === entry.checksum
  )
}

function describe(entry: LogEntry | undefined): string {
  if (!entry) return 'nothing'
  const number = entry.number === null ? '' : ` of number ${entry.number}`
  return `${formatPosition(entry)} (${entry.type}${number})`
}

function describeGiven(record: ChannelRecord, index: number, log: readonly LogEntry[]): string {
  if (index >= record.length) return 'nothing more'
  const position = record.at(index)
  const entry = log.find(other => comparePositions(other, position) === 0)
  const what = entry ? describe(entry) : `${formatPosition(position)}, which is not in the log`
  const at = ` at ${(record.times[index]! / 1000).toFixed(3)} s`
  if (entry && entry.checksum !== record.checksums[index]) return `${what} with another content${at}`
  return `${what}${at}${seenBefore(record, index, position) ? ', for the second time' : ''}`
}

function seenBefore(record: ChannelRecord, index: number, { epoch, seq }: Position): boolean {
  for (let i = 0; i < index; i++) if (record.seqs[i] === seq && record.epochs[i] === epoch) return true
  return false
}

function describePublish({ firstNumber, count, channel, gateway, sentMs, doneMs, outcome }: Publish): string {
  const numbers =
    count === 1 ? `number ${firstNumber}` : `numbers ${firstNumber} to ${firstNumber + count - 1}`
  const times = `${(sentMs / 1000).toFixed(3)} to ${(doneMs / 1000).toFixed(3)} s`
  return `the publish of ${numbers} to ${channel} by ${gateway}, ${outcome}, ${times}`
}

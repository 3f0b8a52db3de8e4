// Reads the logs at the end of a run and has everything compared with them.

import type { Redis } from 'ioredis'
import { taskChannel } from '../../shared/event.ts'
import { checkLog, checkOrder, checkPublishes, checkRecord, checkTaskLog } from './compare.ts'
import { type LogEntry, readLog } from './final-log.ts'
import type { StreamClient } from './stream-client.ts'
import type { Traffic } from './traffic.ts'

export interface Verdict {
  /** In words; empty when all is as it should be. */
  readonly differences: string[]
  readonly logs: number
  readonly logEvents: number
  readonly records: number
  readonly recordedEvents: number
  /** Tasks by their terminal event. */
  readonly taskEnds: ReadonlyMap<string, number>
  /** Publishes without a 201 that stand in the log all the same. */
  readonly unansweredInLog: number
}

/** Of a client that differs, so many connections are told. */
const TOLD_VISITS = 8

export async function judge(redis: Redis, traffic: Traffic): Promise<Verdict> {
  const submissions = traffic.followers.flatMap(({ submissions }) => [...submissions])
  const logs = new Map<string, LogEntry[]>()
  for (const channel of [...traffic.channels, ...submissions.map(([id]) => taskChannel(id))]) {
    logs.set(channel, await readLog(redis, channel))
  }
  const clients = [...traffic.clients, ...traffic.followers.flatMap(({ clients }) => clients)]
  const records = clients.flatMap(({ records }) => [...records.values()])
  const taskLogs = submissions.map(([id, outcome]) => ({ id, outcome, log: logs.get(taskChannel(id))! }))
  return {
    differences: [
      ...[...logs].flatMap(([channel, log]) => named(channel, checkLog(log))),
      ...clients.flatMap(client => clientDifferences(client, logs)),
      ...publishDifferences(traffic, logs),
      ...taskLogs.flatMap(({ id, outcome, log }) =>
        // What was never accepted may be unknown, but what is known ends.
        named(`the task ${id}, ${outcome}`, checkTaskLog(log, outcome === 'accepted' || log.length > 0)),
      ),
    ],
    logs: [...logs.values()].filter(log => log.length > 0).length,
    logEvents: sum([...logs.values()]),
    records: records.length,
    recordedEvents: sum(records),
    taskEnds: countBy(taskLogs.filter(({ log }) => log.length > 0).map(({ log }) => log.at(-1)!.type)),
    unansweredInLog: unansweredInLog(traffic, logs),
  }
}

/** How many there are of each. */
export function countBy<K>(keys: readonly K[]): Map<K, number> {
  const counts = new Map<K, number>()
  for (const key of keys) counts.set(key, (counts.get(key) ?? 0) + 1)
  return counts
}

function clientDifferences(client: StreamClient, logs: ReadonlyMap<string, LogEntry[]>): string[] {
  return [...client.records].flatMap(([channel, record]) => {
    const difference = checkRecord(logs.get(channel)!, record, client.wanted.types)
    return difference ? [`${client.name}, on ${channel}: ${difference}${visitsOf(client)}`] : []
  })
}

function visitsOf(client: StreamClient): string {
  return client.visits
    .slice(-TOLD_VISITS)
    .map(({ gateway, cursor, fromMs, toMs, end }) => {
      const to = toMs === null ? 'the end' : `${(toMs / 1000).toFixed(3)} s, ${end}`
      return `\n    ${gateway} after ${cursor ?? 'nothing'}: ${(fromMs / 1000).toFixed(3)} s to ${to}`
    })
    .join('')
}

function publishDifferences(
  { channels, publishers }: Traffic,
  logs: ReadonlyMap<string, LogEntry[]>,
): string[] {
  const publishes = publishers.flatMap(({ publishes }) => publishes)
  return channels.flatMap(channel => {
    const here = publishes.filter(publish => publish.channel === channel)
    const orders = publishers.flatMap(publisher =>
      checkOrder(publisher.publishes.filter(publish => publish.channel === channel)),
    )
    return [...checkPublishes(logs.get(channel)!, here), ...orders]
  })
}

function unansweredInLog({ publishers }: Traffic, logs: ReadonlyMap<string, LogEntry[]>): number {
  const numbers = new Set([...logs.values()].flatMap(log => log.map(({ number }) => number)))
  const unanswered = publishers.flatMap(({ publishes }) => publishes).filter(({ ids }) => ids.length === 0)
  return unanswered.filter(({ firstNumber }) => numbers.has(firstNumber)).length
}

function named(what: string, difference: string | null): string[] {
  return difference ? [`${what}: ${difference}`] : []
}

function sum(lists: readonly { readonly length: number }[]): number {
  return lists.reduce((total, { length }) => total + length, 0)
}

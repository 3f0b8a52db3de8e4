// What a gateway measures beyond what every process does. The labels have few values each: never a task, a
// channel, a path or a caller.

import { Counter, Gauge, Histogram, type Registry } from 'prom-client'
import type { WorkReading } from '../shared/process-samples.ts'

const LATENCY_SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

/**
 * Events sent since the last scrape, by how they came. They are counted here, since a counter looks its labels up at each
 * call, which shows where every event has one viewer.
 */
interface SentTally {
  live: number
  catchup: number
}

/** Registers the metrics of a gateway and answers them for the parts that feed them. */
export function createGatewayMetrics(registry: Registry) {
  const registers = [registry]
  const sent: SentTally = { live: 0, catchup: 0 }
  return {
    sent,
    connections: new Gauge({
      name: 'millrace_sse_connections',
      help: 'Open event streams.',
      registers,
    }),
    connectionsClosed: new Counter({
      name: 'millrace_sse_connections_closed_total',
      help: 'Event streams that have ended, by the reason.',
      labelNames: ['reason'],
      registers,
    }),
    connectionsRefused: new Counter({
      name: 'millrace_connections_refused_total',
      help: 'Connections, event streams and waits that were refused, by the bound that was met.',
      labelNames: ['reason'],
      registers,
    }),
    channelsActive: new Gauge({
      name: 'millrace_channels_active',
      help: 'Channels that at least one open event stream follows.',
      registers,
    }),
    eventsReceived: new Counter({
      name: 'millrace_events_received_total',
      help: 'Events that this gateway has heard of: from pub/sub, or because it appended them itself.',
      registers,
    }),
    eventsSent: new Counter({
      name: 'millrace_events_sent_total',
      help: 'Events written to event streams, as they came (live) or read from the log (catchup).',
      labelNames: ['path'],
      registers,
      collect() {
        for (const path of ['live', 'catchup'] as const) {
          this.inc({ path }, sent[path])
          sent[path] = 0
        }
      },
    }),
    delivery: new Histogram({
      name: 'millrace_delivery_seconds',
      help: 'From the time of a live event to its write to the socket.',
      buckets: LATENCY_SECONDS,
      registers,
    }),
    catchups: new Counter({
      name: 'millrace_catchups_total',
      help: 'Times that an event stream had to read from the log, by the reason.',
      labelNames: ['reason'],
      registers,
    }),
    gaps: new Counter({
      name: 'millrace_gaps_total',
      help: 'Gaps that subscribers were told of, by the reason.',
      labelNames: ['reason'],
      registers,
    }),
    pubsubProbe: new Histogram({
      name: 'millrace_pubsub_probe_seconds',
      help: 'From a publish of the gateway to itself until it is received.',
      buckets: LATENCY_SECONDS,
      registers,
    }),
    tasksSubmitted: new Counter({
      name: 'millrace_tasks_submitted_total',
      help: 'Accepted tasks.',
      labelNames: ['type'],
      registers,
    }),
    httpRequests: new Histogram({
      name: 'millrace_http_request_duration_seconds',
      help: 'Time to answer a request; of an event stream, time until it is open. The route is the pattern.',
      labelNames: ['method', 'route', 'status'],
      buckets: LATENCY_SECONDS,
      registers,
    }),
  }
}

export type GatewayMetrics = ReturnType<typeof createGatewayMetrics>

/** What a gateway tells of its work to the demo: events sent since its start, and open streams. */
export async function readWork(metrics: GatewayMetrics): Promise<WorkReading> {
  const [sent, connections] = await Promise.all([metrics.eventsSent.get(), metrics.connections.get()])
  return {
    events: sent.values.reduce((sum, { value }) => sum + value, 0),
    now: { connections: connections.values[0]?.value ?? 0 },
  }
}

// What waits and runs, over all workers: told by one of them.

import { SAMPLE_INTERVAL_MS, type SystemChannel } from '../../shared/system-channel.ts'
import type { QueueState } from '../queue-state.ts'
import type { DemoSchedule } from './demo-schedules.ts'

export function queueSamples(channel: SystemChannel, queueState: Pick<QueueState, 'read'>): DemoSchedule {
  return {
    id: 'queue',
    everyMs: SAMPLE_INTERVAL_MS,
    async tick() {
      const state = await queueState.read()
      if (!state) return
      const { queued, scheduled, running, held } = state.counts
      const sample = { waiting: queued, delayed: scheduled, active: running, held, oldestMs: state.oldestMs }
      await channel.tell('queue', sample)
    },
  }
}

import { MemoryEventLog } from '../support/memory-event-log.ts'
import { eventLogContract } from './event-log.ts'

const MAX_EVENTS = 50

eventLogContract('memory, for tests', () => {
  const listeners = new Set<(channel: string, message: Buffer) => void>()
  const log = new MemoryEventLog({
    retention: { maxEvents: MAX_EVENTS, ttlMs: 60_000 },
    onPublish: (channel, message) => {
      for (const listener of listeners) listener(channel, message)
    },
  })
  return {
    log,
    maxEvents: MAX_EVENTS,
    async listen(wanted) {
      const received: Buffer[] = []
      const listener = (channel: string, message: Buffer): void => {
        if (channel === wanted) received.push(message)
      }
      listeners.add(listener)
      return { received, close: async () => void listeners.delete(listener) }
    },
    async expiresIn(channel) {
      const stored = log.logs.get(channel)
      return stored ? stored.expireMs || -1 : -2
    },
    state: async taskId => Object.fromEntries(log.tasks.get(taskId) ?? []),
    goBack: async (channel, keep) => log.goBack(channel, keep),
  }
})

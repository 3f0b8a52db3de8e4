// Tells failures of Redis, which pass, from faults of ours, which don't.

import { ReplyError } from 'ioredis'

/** Replies that say something about the state of the server and nothing about the command. */
const STATE_REPLY =
  /^(BUSY|CLUSTERDOWN|EXECABORT|LOADING|MASTERDOWN|MISCONF|NOAUTH|NOPERM|NOREPLICAS|OOM|READONLY|TRYAGAIN|UNKILLABLE|WRONGPASS)\b/

/** What ioredis says when a command did not get through or was not answered; it has no codes for these. */
const CONNECTION_MESSAGES: ReadonlySet<string> = new Set([
  'Command timed out',
  'Connection is closed.',
  'Command aborted due to connection close',
  "Stream isn't writeable and enableOfflineQueue options is false",
])
const SYSTEM_CALLS: ReadonlySet<unknown> = new Set(['connect', 'read', 'write', 'getaddrinfo'])

/** Whether an error means that Redis can't serve at present: gone, hung, loading, out of memory, read-only. */
export function isRedisOutage(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  if (error instanceof ReplyError) return STATE_REPLY.test(error.message)
  return (
    CONNECTION_MESSAGES.has(error.message) ||
    error.name === 'MaxRetriesPerRequestError' ||
    SYSTEM_CALLS.has((error as NodeJS.ErrnoException).syscall)
  )
}

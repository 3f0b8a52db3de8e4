// Structured logging: pino, one JSON line an entry on stdout.

import { type Logger, pino } from 'pino'

export type { Logger }

/** The logger of a process; `service` is `gateway` or `worker`. */
export function createLogger(service: string, level: string): Logger {
  return pino({
    level,
    base: { service, pid: process.pid },
    // ioredis hangs the failed command on its error, and with it inputs and events of users.
    redact: { paths: ['err.command'], remove: true },
  })
}

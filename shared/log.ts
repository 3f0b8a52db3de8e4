// Structured logging: pino, one JSON line an entry on stdout. No credential, and nothing that users sent as input or
// event, may get into it.

import { type Logger, pino, stdSerializers } from 'pino'

export type { Logger }

/** The logger of a process; `service` is `gateway` or `worker`. */
export function createLogger(service: string, level: string): Logger {
  return pino({
    level,
    base: { service, pid: process.pid },
    serializers: { err: describeError },
  })
}

/** What Redis says of a command that it doesn't know, or may not carry out, can repeat its arguments. */
const REPEATED_ARGUMENTS = /, with args beginning with: .*/

/**
 * What is known to be harmless, and no more: libraries hang all kinds of things on their errors, such as ioredis the
 * failed command with its arguments, and Node the URL that it could not read.
 */
function describeError(error: unknown): object {
  if (!(error instanceof Error)) return { message: String(error) }
  const { type, message, stack, code, syscall, address, port } = stdSerializers.err(error)
  const clean = (text: string): string => text.replace(REPEATED_ARGUMENTS, '')
  return { type, message: clean(message), stack: clean(stack), code, syscall, address, port }
}

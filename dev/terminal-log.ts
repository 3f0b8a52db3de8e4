/** How the log looks: as JSON lines in a pipe or a file, readable on a terminal. */
import type { Transform } from 'node:stream'
import { type Logger, pino } from 'pino'
import pretty from 'pino-pretty'

/** The log of `npm start` itself. */
export function startLog(): Logger {
  const output = serviceOutput('millrace')
  return output ? pino({ name: 'millrace' }, output) : pino({ name: 'millrace' })
}

/** Takes a service's JSON lines to the terminal; undefined where its stdout is no terminal. */
export function serviceOutput(service: string): Transform | undefined {
  if (!process.stdout.isTTY) return undefined
  return pretty({
    ignore: 'pid,hostname,name',
    translateTime: 'SYS:HH:MM:ss',
    singleLine: true,
    messageFormat: `${service}: {msg}`,
  })
}

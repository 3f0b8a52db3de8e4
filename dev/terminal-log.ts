/** How the log looks: as JSON lines in a pipe or a file, readable on a terminal. */
import type { Transform } from 'node:stream'
import { type Logger, pino } from 'pino'
import pretty from 'pino-pretty'

/** The log of `npm start` itself. Its lines name the `service` that they are about, as the services' own do. */
export function startLog(): Logger {
  const output = terminalOutput()
  return output ? pino({ base: null }, output) : pino({ base: null })
}

/** Takes JSON lines to the terminal; undefined where stdout is none. One for each source of lines. */
export function terminalOutput(): Transform | undefined {
  if (!process.stdout.isTTY) return undefined
  return pretty({
    ignore: 'pid,service',
    translateTime: 'SYS:HH:MM:ss',
    singleLine: true,
    messageFormat: '{service}: {msg}',
  })
}

/** The two ways a user ends a program on a terminal: asking once, and asking again. */

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
/** npm passes a Ctrl-C on that the terminal has sent to everybody already; that is not asking again. */
const SAME_REQUEST_MS = 1_000

/** `stop` aborts at the first signal, `kill` at one that comes more than a second later. */
export function stopSignals(): { stop: AbortSignal; kill: AbortSignal } {
  const stop = new AbortController()
  const kill = new AbortController()
  let firstAt: number | undefined
  const onSignal = () => {
    firstAt ??= Date.now()
    if (Date.now() - firstAt > SAME_REQUEST_MS) kill.abort()
    else stop.abort()
  }
  for (const signal of SIGNALS) process.on(signal, onSignal)
  return { stop: stop.signal, kill: kill.signal }
}

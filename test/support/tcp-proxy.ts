// A TCP proxy that can stop forwarding without closing anything, as a network does that loses its route.

import type { AddressInfo } from 'node:net'
import { connect, createServer, type Socket } from 'node:net'

export interface TcpProxy {
  readonly port: number
  /** From now on bytes of the connections open now go nowhere, for ever; new connections work. */
  blackhole(): void
  /** Breaks the connections open now; new connections work. */
  cut(): void
  /** New connections go to another port. */
  redirect(targetPort: number): void
  close(): Promise<void>
}

/** Forwards connections on a free loopback port to another one. */
export async function startTcpProxy(firstTarget: number): Promise<TcpProxy> {
  let targetPort = firstTarget
  const open = new Set<Socket>()
  let forwarding = new Set<() => void>()
  const server = createServer(client => {
    const target = connect(targetPort, '127.0.0.1')
    const joined = new AbortController()
    join(client, target, joined.signal)
    forwarding.add(() => joined.abort())
    for (const socket of [client, target]) {
      open.add(socket)
      socket.on('close', () => open.delete(socket))
    }
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    blackhole() {
      for (const stop of forwarding) stop()
      forwarding = new Set()
    },
    cut() {
      for (const socket of open) socket.destroy()
    },
    redirect(port) {
      targetPort = port
    },
    async close() {
      for (const socket of open) socket.destroy()
      await new Promise(resolve => server.close(resolve))
    },
  }
}

/** Forwards both ways, and the end of either, until the signal; from then on everything is swallowed. */
function join(client: Socket, target: Socket, signal: AbortSignal): void {
  for (const [from, to] of [
    [client, target],
    [target, client],
  ] as const) {
    from.on('data', bytes => !signal.aborted && to.write(bytes))
    from.on('error', () => undefined)
    from.on('close', () => !signal.aborted && to.destroy())
  }
}

// The ops port of a process: metrics and health, apart from the port that users reach.

import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Registry } from 'prom-client'
import { StartupError } from './startup-error.ts'

/** The health of a process. `warnings` name what works but is not as it should be. */
export interface Health {
  readonly ok: boolean
  readonly problems: readonly string[]
  readonly warnings?: readonly string[]
}

/** Answers whether the process lives, and whether it is ready for work. Must not throw. */
export interface HealthChecks {
  live(): Promise<Health>
  ready(): Promise<Health>
}

/** The body of a health answer; the status is 200 or 503. */
export function healthBody({ ok, problems, warnings }: Health): object {
  return { status: ok ? 'ok' : 'unavailable', problems, warnings: warnings ?? [] }
}

/** Serves `/metrics`, `/health/live` and `/health/ready`. Throws StartupError when the port is taken. */
export async function startOpsServer(
  { host, port, variable }: { host: string; port: number; variable: string },
  registry: Registry,
  checks: HealthChecks,
): Promise<{ url: string; stop(): Promise<void> }> {
  const server = createServer((request, response) => {
    answer(request.url ?? '', response, registry, checks).catch(() => response.destroy())
  })
  const url = await listen(server, { host, port, variable })
  return {
    url,
    stop: () =>
      new Promise(resolve => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

/** Listens and answers the URL; a port that can't be had is a StartupError that names its variable. */
export async function listen(
  server: Server,
  { host, port, variable }: { host: string; port: number; variable: string },
): Promise<string> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const why = error.code === 'EADDRINUSE' ? 'it is in use' : error.message
      reject(new StartupError(`${variable}: can't listen on ${host}:${port}: ${why}`))
    })
    server.listen(port, host, resolve)
  })
  const address = server.address() as AddressInfo
  const name = address.address.includes(':') ? `[${address.address}]` : address.address
  return `http://${name}:${address.port}`
}

async function answer(
  url: string,
  response: ServerResponse,
  registry: Registry,
  checks: HealthChecks,
): Promise<void> {
  const path = url.split('?', 1)[0]
  if (path === '/metrics') {
    const text = await registry.metrics()
    response.writeHead(200, { 'Content-Type': registry.contentType }).end(text)
  } else if (path === '/health/live' || path === '/health/ready') {
    const health = await (path === '/health/live' ? checks.live() : checks.ready())
    response
      .writeHead(health.ok ? 200 : 503, { 'Content-Type': 'application/json' })
      .end(JSON.stringify(healthBody(health)))
  } else {
    response
      .writeHead(404, { 'Content-Type': 'text/plain' })
      .end('here are /metrics, /health/live and /health/ready\n')
  }
}

// Loaded into a server under test before its own code (`--import`): collects garbage and takes profiles when the
// benchmark says so. The only thing that the benchmark adds to a server.

import { writeFileSync } from 'node:fs'
import { Session } from 'node:inspector/promises'

/** What the benchmark asks of a server; the answer repeats it. */
export type ControlRequest = { bench: 'gc' } | { bench: 'profile' } | { bench: 'profiled'; file: string }

const session = new Session()

process.on('message', message => {
  const request = message as Partial<ControlRequest> | null
  if (!request || typeof request !== 'object' || request.bench === undefined) return
  void obey(request as ControlRequest).then(() => process.send?.(request))
})

async function obey(request: ControlRequest): Promise<void> {
  if (request.bench === 'gc') globalThis.gc?.()
  else if (request.bench === 'profile') await startProfile()
  else await endProfile(request.file)
}

async function startProfile(): Promise<void> {
  session.connect()
  await session.post('Profiler.enable')
  await session.post('Profiler.start')
}

async function endProfile(file: string): Promise<void> {
  const { profile } = await session.post('Profiler.stop')
  writeFileSync(file, JSON.stringify(profile))
  session.disconnect()
}

// A real Chromium, from CHROMIUM_PATH or Debian's package, and pages that record what they must not do.

import { accessSync, constants } from 'node:fs'
import { describe } from '@jest/globals'
import { type Browser, chromium, type Page } from 'playwright-core'

const chromiumPath = process.env.CHROMIUM_PATH ?? '/usr/bin/chromium'

const LAUNCH_ARGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-quic',
]

/** Jest is silent about a file that is skipped as a whole, so the name is written out too. */
export function describeInChromium(name: string, suite: () => void): void {
  if (isExecutable(chromiumPath)) {
    describe(name, suite)
    return
  }
  const skipped = `${name} (skipped: no Chromium at ${chromiumPath}, see CHROMIUM_PATH)`
  process.stderr.write(`${skipped}\n`)
  describe.skip(skipped, suite)
}

export function launchChromium(): Promise<Browser> {
  return chromium.launch({ executablePath: chromiumPath, args: LAUNCH_ARGS })
}

/**
 * What a page did that it must not: uncaught errors, messages on the console, requests to other hosts. That a request
 * failed or was refused is no fault of the page; Chromium writes it to the console all the same.
 */
export function recordFaults(page: Page): string[] {
  const faults: string[] = []
  page.on('pageerror', error => faults.push(`uncaught: ${error.message}`))
  page.on('console', message => {
    if (!message.text().startsWith('Failed to load resource')) faults.push(`console: ${message.text()}`)
  })
  page.on('request', request => {
    if (!isOwn(request.url())) faults.push(`foreign request: ${request.url()}`)
  })
  return faults
}

function isOwn(url: string): boolean {
  return url.startsWith('data:') || new URL(url).hostname === '127.0.0.1'
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

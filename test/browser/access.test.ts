// Access control as a browser meets it: its EventSource with a token in the URL, the pages with a cookie.

import { afterAll, beforeAll, expect, test } from '@jest/globals'
import type { Browser } from 'playwright-core'
import { call } from '../support/http.ts'
import { startGateway, type TestGateway } from '../support/processes.ts'
import { startRedis, type TestRedis } from '../support/redis.ts'
import { describeInChromium, launchChromium } from './chromium.ts'

const SECRET = 'the-secret-of-the-page'

describeInChromium('a browser, with access control on', () => {
  let redis: TestRedis
  let gateway: TestGateway
  let browser: Browser

  beforeAll(async () => {
    redis = await startRedis()
    gateway = await startGateway({ redisUrl: redis.url, env: { MILLRACE_API_KEYS: `page:${SECRET}` } })
    browser = await launchChromium()
  })

  afterAll(async () => {
    await browser.close()
    await gateway.stop()
    await redis.close()
  })

  /** A page of Millrace's own, by the cookie. */
  async function openPage() {
    const context = await browser.newContext()
    const cookie = { name: 'millrace', value: SECRET, url: gateway.url, httpOnly: true }
    await context.addCookies([{ ...cookie, sameSite: 'Strict' as const }])
    const page = await context.newPage()
    const response = await page.goto(`${gateway.url}/`)
    expect(response?.status()).toBe(200)
    return page
  }

  test('reads and writes with the cookie, and nobody gets in without', async () => {
    const page = await openPage()
    const statuses = await page.evaluate(async () => {
      const { status: read } = await fetch('/v1/tasks')
      const { status: written } = await fetch('/v1/channels/page/events', {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: '{"data":1}',
      })
      return { read, written }
    })
    expect(statuses).toEqual({ read: 200, written: 201 })
    const stranger = await browser.newPage()
    expect((await stranger.goto(`${gateway.url}/`))?.status()).toBe(401)
  })

  test('is told when its token has expired, comes back once, and gives up at the 401', async () => {
    const page = await openPage()
    const headers = { Authorization: `Bearer ${SECRET}` }
    const minted = await call(`${gateway.url}/v1/tokens`, {
      headers,
      body: { subscribe: ['page'], ttlSeconds: 1 },
    })
    const seen = await page.evaluate(
      token =>
        new Promise(resolve => {
          const told: string[] = []
          const source = new EventSource(`/v1/channels/page/events?token=${token}`)
          source.onopen = () => told.push('open')
          source.addEventListener('credential-expired', () => told.push('credential-expired'))
          source.onerror = () => {
            told.push(source.readyState === EventSource.CLOSED ? 'closed' : 'reconnecting')
            if (source.readyState === EventSource.CLOSED) resolve(told)
          }
        }),
      minted.body.token,
    )
    expect(seen).toEqual(['open', 'credential-expired', 'reconnecting', 'closed'])
  })
})

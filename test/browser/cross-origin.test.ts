/** A page of another site that uses the API in a real browser. */
import { createServer, type Server } from 'node:http'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import type { Browser, Page } from 'playwright-core'
import { listen } from '../../shared/ops-server.ts'
import { startGateway, type TestGateway } from '../support/processes.ts'
import { startRedis, type TestRedis } from '../support/redis.ts'
import { describeInChromium, launchChromium } from './chromium.ts'

describeInChromium('a page of another site', () => {
  let redis: TestRedis
  let site: Server
  let origin: string
  let browser: Browser
  let page: Page

  beforeAll(async () => {
    redis = await startRedis()
    site = createServer((_, response) =>
      response.setHeader('Content-Type', 'text/html').end('<!doctype html>'),
    )
    const url = new URL(await listen(site, { host: '127.0.0.1', port: 0, variable: 'none' }))
    // By this name it is another site than 127.0.0.1.
    origin = `http://localhost:${url.port}`
    browser = await launchChromium()
    page = await browser.newPage()
    await page.goto(origin)
  })

  afterAll(async () => {
    await browser?.close()
    site?.close()
    await redis?.close()
  })

  const start = (MILLRACE_CORS_ORIGINS: string) =>
    startGateway({ redisUrl: redis.url, env: { MILLRACE_CORS_ORIGINS } })

  /** What the page gets to know: of its publish, and of the stream on which the event should come. */
  const use = (gateway: TestGateway) =>
    page.evaluate(async channel => {
      const source = new EventSource(`${channel}?from=earliest`, { withCredentials: true })
      const seen = new Promise(resolve => {
        source.addEventListener('said', event => resolve((event as MessageEvent).data))
        source.addEventListener('error', () => resolve('error'))
      })
      const published = await fetch(channel, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', 'Idempotency-Key': 'once' },
        body: JSON.stringify({ type: 'said', data: 'hello' }),
        credentials: 'include',
      }).then(
        async response => [response.status, response.headers.has('X-Request-Id'), await response.json()],
        () => 'refused',
      )
      const event = await seen
      source.close()
      return { published, event }
    }, `${gateway.url}/v1/channels/room/events`)

  test('reads and writes when its origin is in the list', async () => {
    expect(await use(await start(origin))).toEqual({
      published: [201, true, { ids: [expect.any(String)] }],
      event: '"hello"',
    })
  })

  test('gets nothing when it is not', async () => {
    expect(await use(await start('https://app.example'))).toEqual({ published: 'refused', event: 'error' })
  })
})

/** What the policy of the pages keeps a real browser from doing, should markup ever get into one. */
import { createServer, type Server } from 'node:http'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import type { Browser, Page } from 'playwright-core'
import { listen } from '../../shared/ops-server.ts'
import { startGateway, type TestGateway } from '../support/processes.ts'
import { startRedis, type TestRedis } from '../support/redis.ts'
import { describeInChromium, launchChromium } from './chromium.ts'

describeInChromium('a page', () => {
  let redis: TestRedis
  let gateway: TestGateway
  let browser: Browser
  let page: Page
  let framing: Server

  beforeAll(async () => {
    redis = await startRedis()
    gateway = await startGateway({ redisUrl: redis.url })
    browser = await launchChromium()
    page = await browser.newPage()
    await page.goto(gateway.url)
  })

  afterAll(async () => {
    await browser?.close()
    framing?.close()
    await redis?.close()
  })

  test('turns no text into markup', async () => {
    const attempt = page.evaluate(`document.body.innerHTML = '<img src="x">'`)
    await expect(attempt).rejects.toThrow(/requires 'TrustedHTML' assignment/)
  })

  test('runs no script but its own files', async () => {
    const violated = await page.evaluate(`new Promise(resolve => {
      document.addEventListener('securitypolicyviolation', event =>
        resolve([event.effectiveDirective, 'ran' in window]))
      const script = document.createElement('script')
      script.append('window.ran = true')
      document.body.append(script)
    })`)
    expect(violated).toEqual([expect.stringMatching(/^(script-src-elem|require-trusted-types-for)$/), false])
  })

  test('sends nothing elsewhere', async () => {
    const sent = await page.evaluate(() =>
      fetch('https://elsewhere.example/').then(
        () => 'sent',
        () => 'refused',
      ),
    )
    expect(sent).toBe('refused')
  })

  test('is shown in no frame', async () => {
    framing = createServer((_, response) =>
      response
        .setHeader('Content-Type', 'text/html')
        .end(`<!doctype html><iframe src="${gateway.url}"></iframe>`),
    )
    const other = await browser.newPage()
    await other.goto(await listen(framing, { host: '127.0.0.1', port: 0, variable: 'none' }))
    await other.waitForLoadState('load')
    expect(other.frames().map(frame => frame.url())).not.toContain(`${gateway.url}/`)
  })
})

import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { startTcpProxy } from '../support/tcp-proxy.ts'
import { until } from '../support/until.ts'
import { describeInChromium, launchChromium, recordFaults } from './chromium.ts'
import { type Demo, lastNumber, startDemo } from './demo.ts'

const CHANNEL = 'demo:counter'

describeInChromium('the page of event ids', () => {
  let demo: Demo
  let browser: Browser
  let context: BrowserContext
  let page: Page
  let faults: string[]

  beforeAll(async () => {
    demo = await startDemo()
    browser = await launchChromium()
  })

  afterAll(async () => {
    await browser?.close()
    await demo?.redis.close()
  })

  beforeEach(async () => {
    context = await browser.newContext()
    page = await context.newPage()
    faults = recordFaults(page)
  })

  afterEach(async () => {
    await context.close()
    expect(faults).toEqual([])
  })

  async function open(url: string): Promise<void> {
    await page.goto(`${url}/event-ids.html`)
    await connectionIs('live')
    await page.locator('[data-came=live]').first().waitFor()
    await page.evaluate('globalThis.loadedOnce = true')
  }

  async function connectionIs(state: string): Promise<void> {
    await page.locator('#connection', { hasText: new RegExp(`^${state}`) }).waitFor()
  }

  /** Resolves when the counter has gone on by two events, and answers where it is. */
  async function missesSome(): Promise<number> {
    const before = await lastNumber(demo.gateway, CHANNEL)
    return until('the counter goes on', async () => {
      const now = await lastNumber(demo.gateway, CHANNEL)
      return now >= before + 2 && now
    })
  }

  /** Resolves when the page has an event and is live; nothing may be lost or doubled on the way there. */
  async function hasAllUpTo(number: number): Promise<void> {
    await page.locator('#events td:first-child', { hasText: new RegExp(`^${number}$`) }).waitFor()
    await connectionIs('live')
    const numbers = (await page.locator('#events td:first-child').allTextContents()).map(Number).reverse()
    expect(numbers).toEqual(numbers.map((_, i) => numbers[0]! + i))
    expect(await page.locator('#lost').textContent()).toBe('0')
    expect(await page.locator('#doubled').textContent()).toBe('0')
    expect(Number(await page.locator('#replayed').textContent())).toBeGreaterThanOrEqual(2)
    expect(await page.locator('#story').textContent()).toMatch(/^Back: \d+ events/)
    expect(await page.evaluate('globalThis.loadedOnce')).toBe(true)
  }

  test('gets what was missed when its connection was cut, and marks it', async () => {
    await open(demo.gateway.url)
    await page.getByRole('button', { name: 'Cut the connection' }).click()
    await connectionIs('ended')
    const missed = await missesSome()
    await page.getByRole('button', { name: 'Let it reconnect' }).click()
    await hasAllUpTo(missed)
    expect(await page.getByRole('row', { name: new RegExp(`^${missed} `) }).getAttribute('data-came')).toBe(
      'replayed',
    )
  })

  test('loses and doubles nothing when its gateway is killed and another one takes over', async () => {
    const doomed = await demo.anotherGateway()
    const proxy = await startTcpProxy(Number(new URL(doomed.url).port))
    await open(`http://127.0.0.1:${proxy.port}`)
    await doomed.kill()
    await connectionIs('reconnecting in \\d s')
    const missed = await missesSome()
    proxy.redirect(Number(new URL(demo.gateway.url).port))
    await hasAllUpTo(missed)
    await proxy.close()
  })

  test('goes on by itself when the network is back', async () => {
    const proxy = await startTcpProxy(Number(new URL(demo.gateway.url).port))
    await open(`http://127.0.0.1:${proxy.port}`)
    await context.setOffline(true) // lets open connections be
    proxy.cut()
    await connectionIs('offline')
    const missed = await missesSome()
    await context.setOffline(false)
    await hasAllUpTo(missed)
    await proxy.close()
  })

  test('goes on where the browser gives up for good, and says why there is a pause', async () => {
    await open(demo.gateway.url)
    await page.getByRole('button', { name: 'Cut the connection' }).click()
    const problem = { status: 503, title: 'No room', detail: 'the gateway has no room for another stream' }
    await page.route('**/v1/channels/**', route => route.fulfill({ status: 503, json: problem }))
    await page.getByRole('button', { name: 'Let it reconnect' }).click()
    await connectionIs('reconnecting in \\d+ s: the gateway has no room')
    const missed = await missesSome()
    await page.unroute('**/v1/channels/**')
    await hasAllUpTo(missed)
  })
})

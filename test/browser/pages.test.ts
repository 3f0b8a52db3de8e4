import { AxeBuilder } from '@axe-core/playwright'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { START_PRICES } from '../../worker/demo/stocks.ts'
import { until } from '../support/until.ts'
import { describeInChromium, launchChromium, recordFaults } from './chromium.ts'
import { type Demo, publish, startDemo } from './demo.ts'

const PAGES = ['tasks', 'counter', 'named-events', 'event-ids', 'chat', 'dashboard', 'stocks']
const EVIL = '<img src=x onerror="pwned=1"><script>pwned=1</script><b>&amp;</b>'

describeInChromium('the pages', () => {
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

  afterEach(async () => {
    await context.close()
    expect(faults).toEqual([])
  })

  async function open(path: string, options: Parameters<Browser['newContext']>[0] = {}): Promise<void> {
    context = await browser.newContext(options)
    page = await context.newPage()
    faults = recordFaults(page)
    await page.goto(`${demo.gateway.url}/${path}`)
  }

  /** Resolves when a place has had three texts of this form, one after the other. */
  async function moves(selector: string, form: RegExp): Promise<void> {
    const place = page.locator(selector, { hasText: form }).first()
    const seen = new Set<string | null>()
    await until(`${selector} moves`, async () => seen.add(await place.textContent()).size === 3)
  }

  async function isLive(): Promise<void> {
    await page.locator('#connection', { hasText: /^live$/ }).waitFor()
  }

  test('are linked from the front page', async () => {
    await open('')
    const links = await page.getByRole('navigation').getByRole('link').all()
    const targets = await Promise.all(links.map(link => link.getAttribute('href')))
    expect(targets).toEqual(PAGES.map(name => `/${name}.html`))
  })

  test('front: brings a task to its end', async () => {
    await open('')
    await page.getByRole('button', { name: 'Start a countdown' }).click()
    await page.getByText(/^100 %.*: completed$/).waitFor()
    await page.locator('#connection', { hasText: /^ended$/ }).waitFor()
    expect(await page.getByRole('progressbar').getAttribute('value')).toBe('100')
  })

  test('counter: counts', async () => {
    await open('counter.html')
    await moves('#count', /^\d+$/)
    await isLive()
    expect(await page.locator('#time').textContent()).toMatch(/\d+:\d+:\d+/)
    expect(await page.locator('#waiting').isVisible()).toBe(false)
  })

  test('named events: both types come over one connection', async () => {
    await open('named-events.html')
    await moves('#counter', /^\d+$/)
    await moves('#clock', /\d+:\d+:\d+/)
    await isLive()
  })

  describe('stocks', () => {
    test('prices move, with a line, a sign and an arrow', async () => {
      await open('stocks.html?symbols=GRIST,OATS')
      await moves('#stocks li .price', /^\d+\.\d\d$/)
      const cards = page.locator('#stocks li')
      expect(await cards.locator('h2').allTextContents()).toEqual(['GRIST', 'OATS'])
      expect(await cards.first().locator('.arrow').textContent()).toMatch(/^[▲▼▬]$/)
      expect(await cards.first().locator('polyline').getAttribute('points')).toMatch(/^\d.* \d/)
      expect(await page.getByText('random walk').isVisible()).toBe(true)
    })

    test('one is added and another taken away, over one connection at a time', async () => {
      await open('stocks.html?symbols=GRIST,OATS')
      await page.locator('#stocks li .price', { hasText: /^\d/ }).nth(1).waitFor()
      await page.getByLabel('BRAN').check()
      await page.getByLabel('OATS').uncheck()
      await page.locator('#stocks li:first-child .price', { hasText: /^\d/ }).waitFor()
      expect(await page.locator('#stocks h2').allTextContents()).toEqual(['BRAN', 'GRIST'])
      expect(new URL(page.url()).search).toBe('?symbols=BRAN,GRIST')
      await isLive()
    })

    test('the page has those that there are', async () => {
      await open('stocks.html?symbols=')
      const boxes = page.getByRole('checkbox')
      const symbols = await boxes.evaluateAll(inputs =>
        inputs.map(input => (input as { value?: string }).value),
      )
      expect(symbols).toEqual(Object.keys(START_PRICES))
      await page.locator('#connection', { hasText: /^ended: / }).waitFor()
    })
  })

  describe('dashboard', () => {
    test('replays what was, goes on live, and drops who is silent', async () => {
      const data = { name: 'old', pid: 1, cpu: 0.25, memoryBytes: 50 * 2 ** 20, tasksRunning: 7 }
      await publish(demo.gateway, 'demo:system', { type: 'worker', data })
      await open('dashboard.html')
      const old = page.getByRole('row', { name: /^old/ })
      await old.waitFor()
      expect(await old.getByRole('cell').allTextContents()).toEqual(['25 %', '50 MiB', '–', '–', '7'])
      expect(await page.locator('#charts canvas').count()).toBe(6)
      // What the processes of this test say of themselves.
      await page.getByRole('row', { name: / gateway .* MiB/ }).waitFor()
      await page
        .getByRole('row', { name: / worker .* MiB/ })
        .first()
        .waitFor()
      await page.locator('#queue', { hasText: /waiting\d+active\d+/ }).waitFor()
      await old.waitFor({ state: 'detached' })
      await isLive()
    })
  })

  describe.each(['index', ...PAGES])('%s', name => {
    // What stands there at first is replaced by what comes.
    const isFilled = async () => {
      if (name !== 'index' && name !== 'tasks') await isLive()
    }

    test.each(['light', 'dark'] as const)('has no serious fault of accessibility, %s', async colorScheme => {
      await open(`${name}.html`, { colorScheme })
      await isFilled()
      const { violations } = await new AxeBuilder({ page }).analyze()
      const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
      expect(serious.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)])).toEqual([])
    })

    test('fits on 360 px without scrolling sideways', async () => {
      await open(`${name}.html`, { viewport: { width: 360, height: 740 } })
      await isFilled()
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(360)
    })
  })

  describe('hostile text is shown as text', () => {
    beforeEach(async () => {
      const trend = { price: 1, change: EVIL, changePercent: EVIL }
      for (const [channel, type, data] of [
        ['demo:counter', 'message', { count: EVIL, time: EVIL }],
        ['demo:named', 'counter', { count: EVIL }],
        ['demo:stock:OATS', 'price', { symbol: EVIL, ...trend }],
        ['demo:system', 'gateway', { name: EVIL, cpu: EVIL, connections: 1 }],
        ['chat:lobby', 'said', { name: EVIL, text: EVIL }],
        ['chat:lobby:here', 'here', { client: EVIL, name: EVIL }],
      ] as const) {
        await publish(demo.gateway, channel, { type, data })
      }
    })

    const evil = encodeURIComponent(EVIL)
    test.each([
      ['counter.html', 'main'],
      ['named-events.html', 'main'],
      ['event-ids.html', '#events'],
      [`stocks.html?symbols=OATS,${evil}`, 'main'],
      ['dashboard.html', '#processes'],
      ['chat.html', '#messages li p'],
      ['chat.html', '#here'],
      [`chat.html#${evil}`, '#messages li p'],
    ])('%s in %s', async (path, place) => {
      await open(path)
      await isLive()
      if (place !== 'main') await page.locator(place, { hasText: '<img src=x' }).first().waitFor()
      expect(await page.locator('main :is(img, script, p b)').count()).toBe(0)
      expect(await page.evaluate('typeof pwned')).toBe('undefined')
    })
  })
})

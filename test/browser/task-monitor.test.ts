import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals'
import type { Browser, Locator, Page } from 'playwright-core'
import { projectRoot } from '../../dev/project-root.ts'
import { startGateway, startWorker, type TestGateway } from '../support/processes.ts'
import { startRedis, type TestRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { describeInChromium, launchChromium, recordFaults } from './chromium.ts'
import { MonitorPage } from './monitor-page.ts'

const TASKS_DIR = join(projectRoot(), 'test/browser/tasks')
/** Kept of a task: more than most tests here need. */
const MAX_EVENTS = 100
const EVIL = '<img src=x onerror="pwned=1"><script>pwned=1</script><b>&amp;</b>'

describeInChromium('the task monitor', () => {
  let redis: TestRedis
  let gateway: TestGateway
  let browser: Browser
  let dir: string
  let page: Page
  let monitor: MonitorPage
  let faults: string[]

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'millrace-browser-'))
    redis = await startRedis()
    const env = { MILLRACE_TASKS_DIR: TASKS_DIR, MILLRACE_TASK_MAX_EVENTS: String(MAX_EVENTS) }
    await startWorker({ redisUrl: redis.url, env })
    await startWorker({ redisUrl: redis.url, env })
    gateway = await startGateway({ redisUrl: redis.url })
    browser = await launchChromium()
  })

  afterAll(async () => {
    await browser?.close()
    await redis?.close()
    await rm(dir, { recursive: true, force: true })
  })

  beforeEach(async () => {
    page = await browser.newPage()
    faults = recordFaults(page)
    monitor = new MonitorPage(page)
    await monitor.open(gateway.url)
  })

  afterEach(async () => {
    await page.close()
    expect(faults).toEqual([])
  })

  test('brings three tasks, started at once, to 100 % over one event stream', async () => {
    const streams = requestsOf(page, '/v1/events')
    const cards = await monitor.start('countdown', { steps: '5', intervalMs: '50' }, 3)
    for (const card of cards) {
      await monitor.reaches(card, 'completed')
      expect(await card.getByRole('progressbar').getAttribute('value')).toBe('100')
      expect(await card.locator('.percent').textContent()).toBe('100 %')
      expect(await card.locator('.message').textContent()).toBe('step 5 of 5')
      expect(await card.locator('.result pre').textContent()).toContain('"steps": 5')
      expect(await card.getByRole('button', { name: 'Cancel' }).count()).toBe(0)
    }
    await monitor.connectionIs('ended')
    expect(streams).toHaveLength(1)
    expect(await page.locator('#announcer p', { hasText: ': completed' }).count()).toBe(3)
  })

  test('cancels a running task', async () => {
    const [card] = await monitor.start('countdown', { steps: '1000' })
    await monitor.reaches(card, 'running')
    await monitor.connectionIs('live')
    await card.getByRole('button', { name: 'Cancel' }).click()
    await monitor.reaches(card, 'cancelled')
  })

  test('runs a cancelled task again, as a new one', async () => {
    const [card] = await monitor.start('countdown', { steps: '1000' })
    await monitor.reaches(card, 'running')
    await card.getByRole('button', { name: 'Cancel' }).click()
    await monitor.reaches(card, 'cancelled')
    await card.getByRole('button', { name: 'Run again' }).click()
    const again = page.locator('#tasks article:first-child')
    await monitor.reaches(again, 'running')
    expect(await monitor.idOf(again)).not.toBe(await monitor.idOf(card))
    await again.getByRole('button', { name: 'Cancel' }).click()
    await monitor.reaches(again, 'cancelled')
  })

  test('says at the field what is wrong with its value, and starts once it is right', async () => {
    await monitor.fill('countdown', { steps: '0' })
    await monitor.startButton.click()
    expect(await monitor.errorAt('steps')).toContain('1')

    // What only the server can check is shown at the same place.
    await monitor.fill('narrator', { speaker: 'NOT SMALL' })
    await monitor.startButton.click()
    expect(await monitor.errorAt('speaker')).not.toBe('')
    expect(await page.locator('#start-error').textContent()).not.toBe('')

    const [card] = await monitor.start('narrator', { speaker: 'small' })
    await monitor.reaches(card, 'completed')
    expect(await page.locator('#start [aria-invalid="true"]').count()).toBe(0)
    expect(await page.locator('#start-error').textContent()).toBe('')
  })

  test('goes on without a reload after its gateway was killed, and misses no message', async () => {
    const gate = join(dir, 'killed')
    const doomed = await startGateway({ redisUrl: redis.url })
    await monitor.open(doomed.url)
    await page.evaluate('globalThis.loadedOnce = true')
    const [card] = await monitor.start('narrator', { gate })
    await card.locator('summary', { hasText: 'Messages' }).click()
    await monitor.hasMessages(card, 11) // it started, and said ten lines

    await doomed.kill()
    await monitor.connectionIs('reconnecting')
    await writeFile(gate, '')
    await completes(gateway, await monitor.idOf(card))
    expect(await card.locator('.state').textContent()).toBe('running')

    const heir = await startGateway({ redisUrl: redis.url, env: { PORT: new URL(doomed.url).port } })
    await monitor.reaches(card, 'completed')
    await monitor.connectionIs('ended')
    const numbers = (await card.locator('.log li').allTextContents()).flatMap(numberOfLine)
    expect(numbers.reverse()).toEqual(Array.from({ length: 20 }, (_, i) => i + 1))
    expect(await page.evaluate('globalThis.loadedOnce')).toBe(true)
    await heir.stop()
  })

  test('says how much is missing when the log no longer had all of it', async () => {
    const gate = join(dir, 'trimmed')
    const doomed = await startGateway({ redisUrl: redis.url })
    await monitor.open(doomed.url)
    const [card] = await monitor.start('narrator', { gate, lines: '400' })
    await card.locator('summary', { hasText: 'Messages (last 100)' }).waitFor()
    await doomed.kill()
    await writeFile(gate, '')
    await completes(gateway, await monitor.idOf(card))

    const heir = await startGateway({ redisUrl: redis.url, env: { PORT: new URL(doomed.url).port } })
    await monitor.reaches(card, 'completed')
    await card.locator('summary', { hasText: 'Messages' }).click()
    await card.getByText(/\d+ events are no longer kept/).waitFor()
    await heir.stop()
  })

  test('comes back by itself where the browser gives up for good, and notices what it missed', async () => {
    const gate = join(dir, 'refused')
    const [card] = await monitor.start('narrator', { gate, lines: '400' })
    await card.locator('summary', { hasText: 'Messages (last 100)' }).waitFor()

    // An EventSource takes this answer for final. A further task makes the page ask for another stream.
    await page.route('**/v1/events?*', route => route.fulfill({ status: 503, body: 'no gateway is free' }))
    await monitor.start('countdown', { steps: '1', intervalMs: '0' })
    await monitor.connectionIs('reconnecting in \\d+ s')
    await writeFile(gate, '')
    await completes(gateway, await monitor.idOf(card))

    await page.unroute('**/v1/events?*')
    await monitor.connectionIs('ended')
    await monitor.reaches(card, 'completed')
    await card.locator('summary', { hasText: 'Messages' }).click()
    await card.getByText(/\d+ events are no longer kept/).waitFor()
  })

  test('follows more tasks than one event stream carries', async () => {
    const gate = join(dir, 'many')
    const cards: Locator[] = []
    for (let batch = 0; batch < 3; batch++)
      cards.push(...(await monitor.start('narrator', { gate, lines: '4' }, 20)))
    await writeFile(gate, '')
    for (const card of cards) await monitor.reaches(card, 'completed')
    await monitor.connectionIs('ended')
    // Read again with each new set of channels, and shown once.
    await cards[0]!.locator('summary', { hasText: 'Messages' }).click()
    await monitor.hasMessages(cards[0]!, 6)
  })

  test('shows after a reload what it showed before, and goes on', async () => {
    const gate = join(dir, 'reload')
    const [card] = await monitor.start('narrator', { gate })
    await card.locator('summary', { hasText: 'Messages (11)' }).waitFor()

    await page.reload()
    await card.locator('summary', { hasText: 'Messages (11)' }).waitFor()
    expect(await card.locator('.percent').textContent()).toBe('50 %')
    await writeFile(gate, '')
    await monitor.reaches(card, 'completed')

    await page.reload()
    await card.locator('summary', { hasText: 'Messages' }).click()
    await monitor.hasMessages(card, 22) // it started, said twenty lines, and sent an event of its own
    await monitor.reaches(card, 'completed')
  })

  test('shows hostile text as text, on 360 px without scrolling sideways', async () => {
    await page.setViewportSize({ width: 360, height: 740 })
    const [card] = await monitor.start('narrator', { text: EVIL + 'x'.repeat(500) })
    await monitor.reaches(card, 'completed')
    await card.locator('summary', { hasText: 'Messages' }).click()
    await card.locator('summary', { hasText: 'Partial output' }).click()
    await monitor.hasMessages(card, 22)
    for (const part of [
      '.message',
      '.log li:first-child',
      '.log li:nth-child(2)',
      '.output pre',
      '.result pre',
    ]) {
      expect(await card.locator(part).textContent()).toContain('<script>pwned=1</script>')
    }
    expect(await page.locator('#tasks :is(img, script, b)').count()).toBe(0)
    expect(await page.evaluate('typeof pwned')).toBe('undefined')
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(360)
  })

  test('is served under a policy that lets no other script or host in', async () => {
    const policy = (await fetch(gateway.url)).headers.get('content-security-policy')
    for (const rule of [
      "default-src 'none'",
      "script-src 'self'",
      "connect-src 'self'",
      "frame-ancestors 'none'",
    ]) {
      expect(policy).toContain(rule)
    }
    expect(policy).not.toContain('unsafe')
  })
})

async function completes(gateway: TestGateway, taskId: string): Promise<void> {
  await until('the task completes', async () => {
    const task = await fetch(`${gateway.url}/v1/tasks/${taskId}`)
    return ((await task.json()) as { state: string }).state === 'completed'
  })
}

/** Lines of the log are `<clock> <number>: <speaker> <text>`; other messages have no number. */
function numberOfLine(message: string): number[] {
  const match = / (\d+): {2}line$/.exec(message)
  return match ? [Number(match[1])] : []
}

function requestsOf(page: Page, path: string): string[] {
  const urls: string[] = []
  page.on('request', request => {
    if (new URL(request.url()).pathname === path) urls.push(request.url())
  })
  return urls
}

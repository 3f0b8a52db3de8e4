// What workers announce and handlers throw is text on the task monitor, whatever it looks like.

import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals'
import { Redis } from 'ioredis'
import type { Browser, Page } from 'playwright-core'
import { projectRoot } from '../../dev/project-root.ts'
import { announceTaskTypes } from '../../shared/task-types.ts'
import { call } from '../support/http.ts'
import { startGateway, startWorker, type TestGateway } from '../support/processes.ts'
import { startRedis, type TestRedis } from '../support/redis.ts'
import { describeInChromium, launchChromium, recordFaults } from './chromium.ts'
import { MonitorPage } from './monitor-page.ts'

const EVIL = '"><img src=x onerror="pwned=1"><script>pwned=1</script><b>&amp;</b>\u202e\0'

describeInChromium('the task monitor shows as text', () => {
  let redis: TestRedis
  let gateway: TestGateway
  let browser: Browser
  let page: Page
  let monitor: MonitorPage
  let faults: string[]

  beforeAll(async () => {
    redis = await startRedis()
    await startWorker({
      redisUrl: redis.url,
      env: { MILLRACE_TASKS_DIR: join(projectRoot(), 'test/browser/tasks') },
    })
    gateway = await startGateway({ redisUrl: redis.url })
    browser = await launchChromium()
  })

  afterAll(async () => {
    await browser?.close()
    await redis?.close()
  })

  beforeEach(async () => {
    page = await browser.newPage()
    faults = recordFaults(page)
    monitor = new MonitorPage(page)
  })

  afterEach(async () => {
    expect(await page.evaluate('typeof pwned')).toBe('undefined')
    expect(await page.locator(':is(main, form) :is(img, script, b, [onerror])').count()).toBe(0)
    await page.close()
    expect(faults).toEqual([])
  })

  test('the schema of a type, down to its names, titles, choices and defaults', async () => {
    const property = { type: 'string', title: EVIL, description: EVIL, default: EVIL, enum: [EVIL, 'other'] }
    const properties = { [EVIL]: property, ['__proto__']: property, text: { ...property, enum: undefined } }
    const inputSchema = { title: EVIL, type: 'object', properties, required: [EVIL] }
    const client = new Redis(redis.url)
    await announceTaskTypes(client, [{ type: 'odd', inputSchema, attempts: 1, timeoutMs: 1_000 }])
    client.disconnect()
    await monitor.open(gateway.url)
    await page.getByLabel('Task type').selectOption('odd')
    await page.locator('#input label').first().waitFor()
    expect(await page.locator('#input').textContent()).toContain('<script>pwned=1</script>')
  })

  test('the error of a task, and why it was cancelled', async () => {
    const thrown = await call(`${gateway.url}/v1/tasks`, { body: { type: 'thrower', input: { text: EVIL } } })
    const delayed = { type: 'thrower', input: { text: EVIL }, delayMs: 60_000 }
    const waiting = await call(`${gateway.url}/v1/tasks`, { body: delayed })
    await call(gateway.url + waiting.body.links.cancel, { body: { reason: EVIL } })
    await monitor.open(gateway.url)
    const card = (id: string) => page.getByRole('article', { name: `thrower ${id}` })
    await monitor.reaches(card(thrown.body.id), 'failed')
    await monitor.reaches(card(waiting.body.id), 'cancelled')
    expect(await card(thrown.body.id).textContent()).toContain('<script>pwned=1</script>')
    for (const { body } of [thrown, waiting]) {
      await card(body.id).locator('summary', { hasText: 'Messages' }).click()
      await card(body.id).locator('.log li', { hasText: '<script>' }).first().waitFor()
    }
  })
})

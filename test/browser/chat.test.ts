import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { describeInChromium, launchChromium, recordFaults } from './chromium.ts'
import { type Demo, publish, startDemo } from './demo.ts'

describeInChromium('the chat', () => {
  let demo: Demo
  let browser: Browser
  let people: { context: BrowserContext; faults: string[] }[]
  let ada: Page
  let ben: Page

  beforeAll(async () => {
    demo = await startDemo()
    browser = await launchChromium()
  })

  afterAll(async () => {
    await browser?.close()
    await demo?.redis.close()
  })

  beforeEach(async () => {
    people = []
    ;[ada, ben] = await Promise.all([come('Ada'), come('Ben')])
  })

  afterEach(async () => {
    for (const { context } of people) await context.close()
    expect(people.flatMap(({ faults }) => faults)).toEqual([])
  })

  async function come(name: string, room = 'lobby'): Promise<Page> {
    const context = await browser.newContext()
    const page = await context.newPage()
    people.push({ context, faults: recordFaults(page) })
    await page.goto(`${demo.gateway.url}/chat.html#${room}`)
    await isLive(page)
    await page.getByLabel('Your name').fill(name)
    await page.getByRole('textbox', { name: 'Message' }).focus()
    return page
  }

  async function isLive(page: Page): Promise<void> {
    await page.locator('#connection', { hasText: /^live$/ }).waitFor()
  }

  async function say(page: Page, text: string): Promise<void> {
    await page.getByRole('textbox', { name: 'Message' }).fill(text)
    await page.getByRole('button', { name: 'Send' }).click()
  }

  async function hears(page: Page, name: string, text: string): Promise<void> {
    const message = page.locator('#messages li', { hasText: text })
    await message.waitFor()
    expect(await message.count()).toBe(1)
    expect(await message.locator('b').textContent()).toBe(name)
  }

  async function isHere(page: Page, name: string, here = true): Promise<void> {
    await page
      .locator('#here li', { hasText: new RegExp(`^${name}$`) })
      .first()
      .waitFor({ state: here ? 'visible' : 'detached' })
  }

  test('two windows talk, each message shown once and in order', async () => {
    await say(ada, 'one')
    await hears(ben, 'Ada', 'one')
    await say(ben, 'two')
    await hears(ada, 'Ben', 'two')
    await hears(ben, 'Ben', 'two')
    await hears(ada, 'Ada', 'one')
    const texts = async (page: Page) => (await page.locator('#messages p').allTextContents()).slice(-2)
    expect(await texts(ada)).toEqual(['one', 'two'])
    expect(await texts(ben)).toEqual(['one', 'two'])
    expect(await ada.getByRole('textbox', { name: 'Message' }).inputValue()).toBe('')

    const late = await come('Cleo')
    await hears(late, 'Ada', 'one')
  })

  test('who is here is shown, until they leave', async () => {
    await isHere(ada, 'Ben')
    await isHere(ben, 'Ada')
    await ben.goto(`${demo.gateway.url}/counter.html`)
    await isHere(ada, 'Ben', false)
  })

  test('a message in another room is told in the title and at the room, until it is looked at', async () => {
    await ben.getByRole('link', { name: 'kitchen' }).click()
    await isHere(ada, 'Ben', false)
    await say(ben, 'soup is ready')
    await ada.getByRole('link', { name: 'kitchen 1 new' }).waitFor()
    expect(await ada.title()).toBe('(1) lobby · Chat · Millrace')
    await ada.getByRole('link', { name: 'kitchen' }).click()
    await hears(ada, 'Ben', 'soup is ready')
    expect(await ada.title()).toBe('kitchen · Chat · Millrace')
  })

  test('a room of one’s own is entered by its name, over the same connection', async () => {
    for (const page of [ada, ben]) {
      await page.getByLabel('Another room').fill('tea.2')
      await page.getByRole('button', { name: 'Enter' }).click()
      await page.getByRole('heading', { name: 'tea.2' }).waitFor()
      await isLive(page)
    }
    await say(ada, 'quiet here')
    await hears(ben, 'Ada', 'quiet here')
  })

  test('a message whose answer was lost is sent again, and appended once', async () => {
    await ada.route('**/v1/channels/chat:lobby/events', async route => {
      await route.fetch()
      await route.abort()
    })
    await say(ada, 'only once')
    await ada.getByText('Not sent: The server does not answer.').waitFor()
    await ada.unroute('**/v1/channels/chat:lobby/events')
    await ada.getByRole('button', { name: 'Send' }).click()
    await ada.locator('#say-error', { hasText: /^$/ }).waitFor({ state: 'attached' })
    await say(ada, 'after it')
    await hears(ben, 'Ada', 'after it')
    await hears(ben, 'Ada', 'only once')
    await hears(ada, 'Ada', 'only once')
  })

  test('what is no message of a person does no harm', async () => {
    for (const data of [null, 'text', { name: 1, text: { a: 1 } }, [1]]) {
      await publish(demo.gateway, 'chat:lobby', { type: 'said', data })
      await publish(demo.gateway, 'chat:lobby:here', { type: 'here', data })
    }
    await say(ada, 'still here')
    await hears(ben, 'Ada', 'still here')
  })
})

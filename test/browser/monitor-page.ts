// The task monitor as a person or a screen reader finds their way in it.

import { expect } from '@jest/globals'
import type { Locator, Page } from 'playwright-core'

export class MonitorPage {
  readonly startButton: Locator
  readonly #page: Page

  constructor(page: Page) {
    this.#page = page
    this.startButton = page.getByRole('button', { name: 'Start' })
  }

  /** Resolves when the types and the recent tasks are there. */
  async open(url: string): Promise<void> {
    await this.#page.goto(`${url}/tasks.html`)
    await this.#page.locator('#start button:enabled').waitFor()
    await this.#page.locator('#tasks-hint', { hasText: /^$|No tasks yet/ }).waitFor({ state: 'attached' })
  }

  /** Fills the form, for values that are typed in. */
  async fill(type: string, input: Record<string, string>): Promise<void> {
    await this.#page.getByLabel('Task type').selectOption(type)
    for (const [name, value] of Object.entries(input)) await this.#field(name).fill(value)
  }

  /** Fills the form and sends it; resolves with the cards of the new tasks. */
  async start(type: string, input: Record<string, string>, count = 1): Promise<[Locator, ...Locator[]]> {
    const known = await this.#page.locator('#tasks .id').allTextContents()
    await this.fill(type, input)
    await this.#page.getByLabel('How many').fill(String(count))
    await this.startButton.click()
    await this.#page.locator(`#tasks article:nth-child(${known.length + count})`).waitFor()
    const ids = (await this.#page.locator('#tasks .id').allTextContents()).filter(id => !known.includes(id))
    expect(ids).toHaveLength(count)
    return ids.map(id => this.#page.getByRole('article', { name: `${type} ${id}` })) as [
      Locator,
      ...Locator[],
    ]
  }

  async idOf(card: Locator): Promise<string> {
    return (await card.locator('.id').textContent()) ?? ''
  }

  /** Resolves when a card says that its task is in this state. */
  async reaches(card: Locator, state: string): Promise<void> {
    await card.locator('.state', { hasText: new RegExp(`^${state}$`) }).waitFor()
  }

  /** Resolves when the page says, in words, that its connection is in this state. */
  async connectionIs(state: string): Promise<void> {
    await this.#page
      .getByRole('status')
      .filter({ hasText: new RegExp(`^${state}`) })
      .waitFor()
  }

  /** Resolves when a card, its messages opened, shows that many, and no more. */
  async hasMessages(card: Locator, count: number): Promise<void> {
    await card.locator(`.log li:nth-child(${count})`).waitFor()
    expect(await card.locator('.log li').count()).toBe(count)
  }

  /** What a screen reader says of a field that is marked as wrong and has the focus. */
  async errorAt(name: string): Promise<string> {
    await this.#page.locator('#input [aria-invalid="true"]').waitFor()
    const field = this.#field(name)
    expect(await field.getAttribute('aria-invalid')).toBe('true')
    expect(await field.evaluate(input => input.matches(':focus'))).toBe(true)
    return field.evaluate(input => input.ariaDescribedByElements.at(-1)?.textContent ?? '')
  }

  #field(name: string): Locator {
    return this.#page.locator('#input').getByLabel(name, { exact: true })
  }
}

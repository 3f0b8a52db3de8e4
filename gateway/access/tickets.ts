// Tickets: with them the events of a task can be handed to a browser as a URL.

import type { Context } from 'koa'
import { taskChannel } from '../../shared/event.ts'
import { type TaskRecord, type TaskView, viewTask } from '../../shared/task.ts'
import { callerOf } from './caller.ts'
import type { SubscriberTokens } from './subscriber-tokens.ts'

const TICKET_MS = 15 * 60 * 1000

export class Tickets {
  readonly #tokens: SubscriberTokens | null

  /** Without tokens there is no access control, and no tickets. */
  constructor(tokens: SubscriberTokens | null) {
    this.#tokens = tokens
  }

  /** A task as this request is answered: its `links.events` carries a ticket, which lives no longer than its asker. */
  viewTask(ctx: Context, task: Omit<TaskRecord, 'input'>): TaskView {
    const view = viewTask(task)
    if (!this.#tokens) return view
    const expiresAt = Math.min(Date.now() + TICKET_MS, callerOf(ctx).expiresAt ?? Infinity)
    const ticket = this.#tokens.sign({ subscribe: [taskChannel(task.id)], expiresAt })
    return { ...view, links: { ...view.links, events: `${view.links.events}?token=${ticket}` } }
  }
}

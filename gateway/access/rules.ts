// What each call needs: the one table, from which docs/access.md is kept in step. What a body asks for beyond it is
// checked by its route.

import type { Router, RouterContext } from '@koa/router'
import { taskChannel } from '../../shared/event.ts'
import { type Caller, callerOf, type Scope } from './caller.ts'
import { forbidden } from './refusals.ts'
import { mayWatch } from './rights.ts'

interface Rule {
  /** In words, as the documentation has them. */
  readonly needs: string
  allows(caller: Caller, ctx: RouterContext): boolean
}

/** Answered without a credential. */
const PUBLIC: Rule = { needs: 'nothing', allows: () => true }

/** One of the scopes, for something at least. */
const some = (...scopes: Scope[]): Rule => ({
  needs: scopes.join(' or '),
  allows: ({ rights }) => scopes.some(scope => !rights[scope].isEmpty),
})

/** The scope for everything. */
const all = (scope: Scope): Rule => ({
  needs: `${scope} for *`,
  allows: ({ rights }) => rights[scope].covers('*'),
})

/** The scope for the task or channel that the path names. */
const named = (scope: Scope, param: 'id' | 'channel'): Rule => ({
  needs: `${scope} for the ${param === 'id' ? 'task' : 'channel'}`,
  allows: ({ rights }, { params }) => rights[scope].has(params[param] ?? ''),
})

const watching = (what: string, channels: (ctx: RouterContext) => readonly string[]): Rule => ({
  needs: `subscribe for ${what}, or tasks.read for its task`,
  allows: (caller, ctx) => channels(ctx).every(channel => mayWatch(caller, channel)),
})

export const RULES: Readonly<Record<string, Rule>> = {
  'GET /health/live': PUBLIC,
  'GET /health/ready': PUBLIC,
  'POST /v1/tasks': some('tasks.write'),
  'POST /v1/tasks/batch': some('tasks.write'),
  'GET /v1/tasks': all('tasks.read'),
  'GET /v1/tasks/:id': named('tasks.read', 'id'),
  'POST /v1/tasks/:id/cancel': named('tasks.write', 'id'),
  'POST /v1/tasks/:id/retry': named('tasks.write', 'id'),
  'GET /v1/tasks/:id/events': watching('task:{id}', ({ params }) => [taskChannel(params.id ?? '')]),
  'GET /v1/channels/:channel/events': watching('the channel', ({ params }) => [params.channel ?? '']),
  'GET /v1/events': watching('each channel', ({ querystring }) =>
    new URLSearchParams(querystring).getAll('channel'),
  ),
  'POST /v1/channels/:channel/events': named('publish', 'channel'),
  'GET /v1/task-types': some('tasks.read', 'tasks.write'),
  'PUT /v1/schedules/:id': some('schedules'),
  'GET /v1/schedules/:id': some('schedules'),
  'DELETE /v1/schedules/:id': some('schedules'),
  'GET /v1/schedules': some('schedules'),
  'POST /v1/tokens': some('tokens'),
}

const PUBLIC_PATHS = new Set(
  Object.keys(RULES).flatMap(call => (RULES[call] === PUBLIC ? [call.replace('GET ', '')] : [])),
)

/** Whether a request is answered whoever sends it. */
export function isPublic(method: string, path: string): boolean {
  return (method === 'GET' || method === 'HEAD') && PUBLIC_PATHS.has(path)
}

/** Sees to it that each route has a rule, so that the gateway does not start with one that has none. */
export function requireRules(router: Router): void {
  for (const { methods, path } of router.stack) for (const method of methods) ruleOf(method, String(path))
}

/** Puts its rule before each route. */
export function guardRoutes(router: Router): void {
  for (const layer of router.stack) {
    if (layer.methods.length === 0) continue
    const rules = new Map(layer.methods.map(method => [method, ruleOf(method, String(layer.path))]))
    layer.stack.unshift((ctx, next) => {
      const rule = rules.get(ctx.method)!
      if (!rule.allows(callerOf(ctx), ctx)) throw forbidden(`this call needs ${rule.needs}`)
      return next()
    })
  }
}

function ruleOf(method: string, path: string): Rule {
  const rule = RULES[`${method === 'HEAD' ? 'GET' : method} ${path}`]
  if (!rule) throw new Error(`no rule says who may ${method} ${path}`)
  return rule
}

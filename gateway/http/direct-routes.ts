// Goes straight to the route of a request. The router itself tries every route's regular expression and composes the
// route's functions anew for each request, which is a tenth of the time of a publish.

import type { Layer, Router, RouterContext } from '@koa/router'
import type { Context, Middleware, Next } from 'koa'

type Step = (ctx: RouterContext, next: Next) => unknown

interface Route {
  readonly layer: Layer
  readonly run: Step
}

/**
 * Answers what exactly one route of the router takes. All else (unknown paths, wrong methods, several routes) is left to
 * the router, which has to stand behind.
 */
export function directRoutes(router: Router): Middleware {
  const routes = new Map<string, Route[]>()
  for (const layer of router.stack) {
    const route = { layer, run: inOneFunction(layer.stack as Step[]) }
    for (const method of layer.methods) {
      const kind = kindOf(method, String(layer.path))
      routes.set(kind, [...(routes.get(kind) ?? []), route])
    }
  }
  return (ctx, next) => {
    const { path } = ctx
    const ofKind = routes.get(kindOf(ctx.method, path)) ?? []
    const [route, another] = ofKind.filter(({ layer }) => layer.match(path))
    if (!route || another) return next()
    return route.run(asRouted(ctx, route.layer, path), next)
  }
}

/** What the router tells the functions of a route. */
function asRouted(ctx: Context, layer: Layer, path: string): RouterContext {
  const routed = ctx as unknown as RouterContext
  routed.params = layer.params(path, layer.captures(path))
  routed._matchedRoute = layer.path
  return routed
}

function inOneFunction(steps: readonly Step[]): Step {
  const last: Step = (_, next) => next()
  return steps.reduceRight((rest, step) => (ctx, next) => step(ctx, async () => rest(ctx, next)), last)
}

/** A method and a number of segments, by which few routes are left to try. */
function kindOf(method: string, path: string): string {
  let segments = 0
  for (let i = path.indexOf('/'); i >= 0; i = path.indexOf('/', i + 1)) segments++
  return `${method} ${segments}`
}

// Module resolution for handler folders that have no node_modules: what can't be found from there is looked up as
// if Millrace itself had imported it. Runs in Node's hooks thread; load-tasks.ts registers it when it is needed.

import type { ResolveHook } from 'node:module'

const PROVIDED = /^(?:millrace|zod)(?:\/|$)/

export const resolve: ResolveHook = async (specifier, context, nextResolve) => {
  try {
    return await nextResolve(specifier, context)
  } catch (error) {
    if (!PROVIDED.test(specifier)) throw error
    return nextResolve(specifier, { ...context, parentURL: import.meta.url })
  }
}

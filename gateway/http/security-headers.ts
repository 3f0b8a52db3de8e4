// Headers that keep a browser from making more of an answer than it is.

import type { Middleware } from 'koa'

/** For pages: nothing from elsewhere, nothing inline. */
const PAGE_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self' data:",
  "base-uri 'none'",
  "form-action 'self'",
  "frame-ancestors 'none'",
  // Text never becomes markup or script: the pages build elements, and have no policy that would turn one into another.
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ')

/** For documents, over those of every answer. */
export const PAGE_HEADERS = {
  'Content-Security-Policy': PAGE_POLICY,
  'X-Frame-Options': 'DENY',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Permissions-Policy': 'camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()',
}

/** Few, since each of them costs on every answer. */
const HEADERS = Object.entries({
  'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
  'X-Content-Type-Options': 'nosniff',
  'Cross-Origin-Resource-Policy': 'same-origin',
  // Tasks and events are the caller's business; pages and streams say otherwise.
  'Cache-Control': 'no-store',
})

export const securityHeaders: Middleware = (ctx, next) => {
  for (const [name, value] of HEADERS) ctx.res.setHeader(name, value)
  return next()
}

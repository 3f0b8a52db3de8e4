// Serves the pages. They are few and small, so they are read once, at the start: what was not there then, or is
// hidden, can't be reached by any path.

import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { extname, join, relative, sep } from 'node:path'
import type { Middleware } from 'koa'
import { PAGE_HEADERS } from './page-headers.ts'

interface Page {
  readonly body: Buffer
  /** File name extension, which tells the media type. */
  readonly extension: string
  readonly etag: string
}

/**
 * Reads a folder of pages; answers GET and HEAD of its files, `index.html` as `/`. `vendored` are further files, of
 * libraries that pages use, by their paths.
 */
export async function servePages(
  folder: string,
  vendored: Readonly<Record<string, string>> = {},
): Promise<Middleware> {
  const pages = await readPages(folder)
  for (const [path, file] of Object.entries(vendored)) pages.set(path, await readPage(file))
  return async (ctx, next) => {
    const page = ctx.method === 'GET' || ctx.method === 'HEAD' ? pages.get(ctx.path) : undefined
    if (!page) return next()
    ctx.state.route = 'pages'
    ctx.set({ ...PAGE_HEADERS, 'Cache-Control': 'no-cache', ETag: page.etag })
    ctx.status = 200
    if (ctx.fresh) {
      ctx.status = 304
      return
    }
    ctx.type = page.extension
    ctx.body = page.body
  }
}

async function readPages(folder: string): Promise<Map<string, Page>> {
  const pages = new Map<string, Page>()
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const file = join(entry.parentPath, entry.name)
    const names = relative(folder, file).split(sep)
    if (!entry.isFile() || names.some(name => name.startsWith('.'))) continue
    const page = await readPage(file)
    const path = `/${names.map(encodeURIComponent).join('/')}`
    pages.set(path, page)
    if (entry.name === 'index.html') pages.set(path.slice(0, -'index.html'.length), page)
  }
  return pages
}

async function readPage(file: string): Promise<Page> {
  const body = await readFile(file)
  const etag = `"${createHash('sha256').update(body).digest('base64url')}"`
  return { body, extension: extname(file), etag }
}

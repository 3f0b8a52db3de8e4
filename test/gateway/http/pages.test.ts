import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import Koa from 'koa'
import { servePages } from '../../../gateway/http/pages.ts'
import { GatewayServer } from '../../../gateway/server.ts'
import { call } from '../../support/http.ts'

let folder: string
let server: GatewayServer
let url: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'millrace-pages-'))
  const pages = join(folder, 'web')
  await mkdir(join(pages, 'docs', '.git'), { recursive: true })
  await writeFile(join(folder, 'outside.txt'), 'secret')
  await writeFile(join(folder, 'lib.js'), 'export {}')
  await writeFile(join(pages, 'index.html'), '<!doctype html>home')
  await writeFile(join(pages, 'app.js'), 'export {}')
  await writeFile(join(pages, 'docs', 'index.html'), 'docs')
  await writeFile(join(pages, 'docs', 'a b.css'), 'p {}')
  await writeFile(join(pages, '.env'), 'secret')
  await writeFile(join(pages, 'docs', '.git', 'config'), 'secret')
  await symlink(join(folder, 'outside.txt'), join(pages, 'link.txt'))
  const vendored = { '/vendor/lib.js': join(folder, 'lib.js') }
  const app = new Koa().use(await servePages(pages, vendored))
  server = new GatewayServer(app)
  url = await server.start({ host: '127.0.0.1', port: 0 })
})

afterAll(async () => {
  await server.stopAccepting()
  await server.finish()
  await rm(folder, { recursive: true })
})

test.each([
  ['/', 'text/html; charset=utf-8', '<!doctype html>home'],
  ['/index.html', 'text/html; charset=utf-8', '<!doctype html>home'],
  ['/app.js', 'text/javascript; charset=utf-8', 'export {}'],
  ['/vendor/lib.js', 'text/javascript; charset=utf-8', 'export {}'],
  ['/docs/', 'text/html; charset=utf-8', 'docs'],
  ['/docs/a%20b.css', 'text/css; charset=utf-8', 'p {}'],
])('%s has its type and content', async (path, type, content) => {
  const answer = await call(url + path)
  expect(answer).toMatchObject({ status: 200, text: content })
  expect(answer.headers.get('content-type')).toBe(type)
  expect(answer.headers.get('content-security-policy')).toMatch(/^default-src 'none'; script-src 'self'/)
})

test.each([
  '/.env',
  '/docs/.git/config',
  '/link.txt',
  '/docs',
  '/nothing.js',
  '/..%2foutside.txt',
  '/docs/..%2f..%2foutside.txt',
  '/%2e%2e/outside.txt',
  '/__proto__',
])('%s is not there', async path => {
  expect((await call(url + path)).status).toBe(404)
})

test('is not sent again to who has it', async () => {
  const first = await call(`${url}/app.js`)
  const etag = first.headers.get('etag')!
  // Without it, fetch asks for a full answer.
  const cached = { 'Cache-Control': 'max-age=0' }
  const again = await call(`${url}/app.js`, { headers: { 'If-None-Match': etag, ...cached } })
  expect(again).toMatchObject({ status: 304, text: '' })
  const other = await call(`${url}/app.js`, { headers: { 'If-None-Match': '"other"', ...cached } })
  expect(other.status).toBe(200)
})

test('answers HEAD without a body, and nothing but GET and HEAD', async () => {
  const head = await call(`${url}/app.js`, { method: 'HEAD' })
  expect(head).toMatchObject({ status: 200, text: '' })
  expect(head.headers.get('content-length')).toBe('9')
  expect((await call(`${url}/app.js`, { method: 'POST' })).status).toBe(404)
})

test.each(['bytes=5-2', 'bytes=-1', 'bytes=99-', 'nonsense'])('the range %s does no harm', async range => {
  const answer = await call(`${url}/app.js`, { headers: { Range: range } })
  expect(answer).toMatchObject({ status: 200, text: 'export {}' })
})

test('stays as it was when a file goes', async () => {
  await rm(join(folder, 'web', 'app.js'))
  expect((await call(`${url}/app.js`)).text).toBe('export {}')
})

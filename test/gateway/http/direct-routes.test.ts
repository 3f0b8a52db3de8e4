import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import Router, { type RouterContext } from '@koa/router'
import Koa from 'koa'
import { directRoutes } from '../../../gateway/http/direct-routes.ts'

let server: Server
let url: string

beforeAll(async () => {
  const router = new Router({ sensitive: true })
  const answer = (by: string) => (ctx: RouterContext) => {
    ctx.body = { by, params: ctx.params, route: ctx._matchedRoute, router: ctx.routeMatched === true }
  }
  router.get('/rooms/:room/messages/:id', answer('message'))
  router.put('/rooms/:room', answer('room'))
  router.get('/rooms/:room', (_, next) => next(), answer('a room'))
  router.post('/rooms/all', answer('all'))
  router.post('/rooms/:room', answer('any'))
  server = new Koa()
    .use(directRoutes(router))
    .use(router.routes())
    .use(router.allowedMethods())
    .use((ctx, next) => {
      if (ctx.path === '/rooms') ctx.body = { by: 'nobody' }
      return next()
    })
    .listen(0, '127.0.0.1')
  await once(server, 'listening')
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})

afterAll(async () => {
  server.closeAllConnections()
  server.close()
  await once(server, 'close')
})

const ask = async (method: string, path: string) => (await fetch(url + path, { method })).json()

test('a request goes to its one route, which knows its parameters and its pattern', async () => {
  const route = '/rooms/:room/messages/:id'
  const params = { room: 'a b', id: '7' }
  expect(await ask('GET', '/rooms/a%20b/messages/7?x=1')).toEqual({
    by: 'message',
    params,
    route,
    router: false,
  })
  expect(await ask('GET', '/rooms/1')).toMatchObject({ by: 'a room', params: { room: '1' }, router: false })
  expect(await ask('PUT', '/rooms/1')).toMatchObject({ by: 'room', router: false })
})

test('where several routes match, the router decides', async () => {
  expect(await ask('POST', '/rooms/all')).toMatchObject({ by: 'all', router: true })
  expect(await ask('POST', '/rooms/other')).toMatchObject({ by: 'any', router: false })
})

test('what is no route is left to the router', async () => {
  expect(await ask('GET', '/rooms/1/')).toMatchObject({ by: 'a room', router: true })
  expect(await ask('GET', '/rooms')).toEqual({ by: 'nobody' })
  const refused = await fetch(`${url}/rooms/1`, { method: 'DELETE' })
  expect(refused.status).toBe(405)
  expect(refused.headers.get('allow')).toContain('PUT')
  expect((await fetch(`${url}/rooms/1`, { method: 'HEAD' })).status).toBe(200)
})

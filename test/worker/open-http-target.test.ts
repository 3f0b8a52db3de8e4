import { lookup as systemLookup } from 'node:dns'
import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo, LookupFunction } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterEach, describe, expect, test } from '@jest/globals'
import { parseHttpTargets } from '../../shared/http-targets.ts'
import { openHttpTarget } from '../../worker/open-http-target.ts'

const servers: Server[] = []
const patient = () => new AbortController().signal

afterEach(() => {
  for (const server of servers.splice(0)) server.close().closeAllConnections()
})

/** A server on 127.0.0.1; resolves to its port. */
async function serve(handle: RequestListener): Promise<number> {
  const server = createServer(handle).listen(0, '127.0.0.1')
  servers.push(server)
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

/** Name resolution that knows one answer; what a hostile or odd DNS server would say. */
function resolvesTo(...addresses: string[]): LookupFunction {
  const found = addresses.map(address => ({ address, family: address.includes(':') ? 6 : 4 }))
  return (_hostname, _options, callback) => callback(null, found)
}

describe('openHttpTarget', () => {
  test('sends the request and streams the answer', async () => {
    const port = await serve(async (request, response) => {
      response.writeHead(201, { 'x-method': request.method }).end(`got ${await text(request)}`)
    })
    const url = `http://127.0.0.1:${port}/jobs`
    const response = await openHttpTarget(parseHttpTargets(url), url, {
      signal: patient(),
      method: 'POST',
      body: 'work',
    })
    expect(response.statusCode).toBe(201)
    expect(response.headers['x-method']).toBe('POST')
    expect(await response.body.text()).toBe('got work')
  })

  test('reaches loopback by the name localhost', async () => {
    const port = await serve((_request, response) => response.end('here'))
    const origin = `http://localhost:${port}`
    const response = await openHttpTarget(parseHttpTargets(origin), `${origin}/`, { signal: patient() })
    expect(await response.body.text()).toBe('here')
  })

  test('connects to a listed host that resolves to a private or public address', async () => {
    const port = await serve((_request, response) => response.end('here'))
    const asked: string[] = []
    const lookup: LookupFunction = (hostname, options, callback) => {
      asked.push(hostname)
      systemLookup('127.0.0.1', { ...options, all: true }, (error, found) => callback(error, found))
    }
    const origin = `http://service.localhost:${port}`
    const response = await openHttpTarget(parseHttpTargets(origin), origin, { signal: patient(), lookup })
    expect(await response.body.text()).toBe('here')
    expect(asked).toEqual(['service.localhost'])
  })

  test.each([
    ['loopback', '127.0.0.1'],
    ['loopback', '127.8.8.8'],
    ['loopback (IPv6)', '::1'],
    ['loopback (mapped)', '::ffff:127.0.0.1'],
    ['loopback (mapped, hex)', '::ffff:7f00:1'],
    ['loopback (NAT64)', '64:ff9b::127.0.0.1'],
    ['the metadata service', '169.254.169.254'],
    ['the metadata service (mapped)', '::ffff:a9fe:a9fe'],
    ['the metadata service (NAT64)', '64:ff9b::a9fe:a9fe'],
    ['the metadata service (IPv6)', 'fd00:ec2::254'],
    ['the metadata service (Google Cloud, IPv6)', 'fd20:ce::254'],
    ['the metadata service (Alibaba Cloud)', '100.100.100.200'],
    ['the metadata service (Oracle Cloud, NAT64)', '64:ff9b::192.0.0.192'],
    ["the host's services (Azure)", '168.63.129.16'],
    ['credentials for containers (AWS, IPv6)', 'fd00:ec2::23'],
    ['link-local', 'fe80::1%eth0'],
    ['multicast', '239.1.2.3'],
    ['multicast (IPv6)', 'ff02::1'],
    ['unspecified', '0.0.0.0'],
    ['unspecified (IPv6)', '::'],
    ['broadcast', '255.255.255.255'],
    ['no address', 'nonsense'],
  ])('refuses a listed name that resolves to %s %s', async (_what, address) => {
    let requests = 0
    const port = await serve((_request, response) => {
      requests++
      response.end()
    })
    const origin = `http://files.example:${port}`
    const opened = openHttpTarget(parseHttpTargets(origin), origin, {
      signal: patient(),
      lookup: resolvesTo(address),
    })
    await expect(opened).rejects.toMatchObject({ code: 'target-not-allowed', retryable: false })
    await expect(opened).rejects.toThrow('files.example')
    expect(requests).toBe(0)
  })

  test('uses only the allowed ones among several addresses', async () => {
    const port = await serve((_request, response) => response.end('here'))
    const origin = `http://localhost:${port}`
    const lookup = resolvesTo('169.254.169.254', '127.0.0.1')
    const response = await openHttpTarget(parseHttpTargets(origin), origin, { signal: patient(), lookup })
    expect(await response.body.text()).toBe('here')
  })

  test('follows a redirect of a GET inside the list', async () => {
    const port = await serve((request, response) => {
      if (request.url === '/jobs/old') response.writeHead(302, { location: 'new?x=1' }).end('moved')
      else response.end(request.url)
    })
    const target = `http://127.0.0.1:${port}/jobs`
    const response = await openHttpTarget(parseHttpTargets(target), `${target}/old`, { signal: patient() })
    expect(await response.body.text()).toBe('/jobs/new?x=1')
  })

  test.each([
    ['outside the path', '/admin'],
    ['to another origin', 'http://files.example/jobs'],
    ['to the metadata service', 'http://169.254.169.254/latest'],
    ['with credentials', 'http://a:b@127.0.0.1/jobs'],
    ['to no URL', 'http://'],
  ])('refuses a redirect %s', async (_where, location) => {
    const paths: (string | undefined)[] = []
    const port = await serve((request, response) => {
      paths.push(request.url)
      response.writeHead(307, { location }).end()
    })
    const target = `http://127.0.0.1:${port}/jobs`
    const opened = openHttpTarget(parseHttpTargets(target), target, { signal: patient() })
    await expect(opened).rejects.toMatchObject({ code: 'target-not-allowed', retryable: false })
    await expect(opened).rejects.toThrow('redirects to')
    expect(paths).toEqual(['/jobs'])
  })

  test('does not follow redirects of a POST or without end', async () => {
    let requests = 0
    const port = await serve((_request, response) => {
      requests++
      response.writeHead(302, { location: '/' }).end()
    })
    const origin = `http://127.0.0.1:${port}`
    const targets = parseHttpTargets(origin)
    const posted = openHttpTarget(targets, origin, { signal: patient(), method: 'POST', body: 'x' })
    await expect(posted).rejects.toThrow('not followed')
    expect(requests).toBe(1)
    await expect(openHttpTarget(targets, origin, { signal: patient() })).rejects.toThrow('redirects')
    expect(requests).toBe(7)
  })

  test('keeps headers from another origin', async () => {
    const elsewhere = await serve((_request, response) => response.end('secret seen'))
    const port = await serve((_request, response) => {
      response.writeHead(302, { location: `http://127.0.0.1:${elsewhere}/` }).end()
    })
    const targets = parseHttpTargets(`http://127.0.0.1:${port},http://127.0.0.1:${elsewhere}`)
    const headers = { authorization: 'Bearer secret' }
    const opened = openHttpTarget(targets, `http://127.0.0.1:${port}/`, { signal: patient(), headers })
    await expect(opened).rejects.toThrow('not followed')
  })

  test('a service that cannot be reached is worth another attempt', async () => {
    const port = await serve((request, _response) => request.socket.destroy())
    const origin = `http://localhost:${port}`
    const opened = openHttpTarget(parseHttpTargets(origin), `${origin}/a?signature=s3cret`, {
      signal: patient(),
    })
    await expect(opened).rejects.toMatchObject({ code: 'target-unreachable', retryable: true })
    await expect(opened).rejects.toThrow(`${origin}/a: `)
    await expect(opened).rejects.not.toThrow('s3cret')
    for (const server of servers.splice(0)) await new Promise(closed => server.close(closed))
    const refused = openHttpTarget(parseHttpTargets(origin), origin, { signal: patient() })
    await expect(refused).rejects.toThrow(/ECONNREFUSED/)
  })

  test('aborts with the reason of the signal, before and after the head of the answer', async () => {
    const abort = new AbortController()
    const port = await serve((_request, _response) => abort.abort(new Error('cancelled by hand')))
    const origin = `http://127.0.0.1:${port}`
    const opened = openHttpTarget(parseHttpTargets(origin), origin, { signal: abort.signal })
    await expect(opened).rejects.toThrow('cancelled by hand')

    const later = new AbortController()
    const slow = `http://127.0.0.1:${await serve((_request, response) => response.write('first'))}`
    const response = await openHttpTarget(parseHttpTargets(slow), slow, { signal: later.signal })
    const body = response.body.text()
    later.abort(new Error('cancelled later'))
    await expect(body).rejects.toThrow()
  })
})

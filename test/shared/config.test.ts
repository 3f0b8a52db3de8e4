import { readFileSync } from 'node:fs'
import { describe, expect, test } from '@jest/globals'
import { CONFIG_SCHEMAS, gatewayConfig, workerConfig } from '../../shared/config.ts'

describe('configuration', () => {
  test('is documented variable by variable, with its default', () => {
    const doc = readFileSync(new URL('../../docs/configuration.md', import.meta.url), 'utf8')
    const documented = new Map(
      [...doc.matchAll(/^\| `([A-Z_]+)` *\| (.+?) *\|/gm)].map(row => [row[1], row[2]]),
    )
    const defaults = { ...workerConfig({}), ...gatewayConfig({}) } as Record<string, unknown>
    const names = new Set(Object.values(CONFIG_SCHEMAS).flatMap(schema => Object.keys(schema.shape)))
    expect([...documented.keys()].sort()).toEqual([...names].sort())
    for (const name of names) {
      if (name === 'MILLRACE_OPS_PORT') continue
      const value = defaults[name]
      expect(`${name} ${documented.get(name)}`).toBe(
        `${name} ${value === undefined || value === '' ? 'unset' : `\`${value}\``}`,
      )
    }
  })

  test.each([
    ['REDIS_URL', 'http://x'],
    ['PORT', '80a'],
    ['PORT', '65536'],
    ['PORT', '-1'],
    ['MILLRACE_DRAIN_MS', '1.5'],
    ['LOG_LEVEL', 'loud'],
    ['MILLRACE_AUTH', 'on'],
    ['MILLRACE_JWT_SECRET', 'x'.repeat(31)],
    ['MILLRACE_JWKS_URL', 'users.example/keys'],
    ['MILLRACE_REDIS_MODE', 'cluster'],
    ['MILLRACE_RATE_LIMIT', '-1'],
    ['MILLRACE_WEBHOOK_SECRET', 'whsec_x'],
    ['MILLRACE_WEBHOOK_SECRET', `whsec_${Buffer.alloc(15).toString('base64')}`],
    ['MILLRACE_WEBHOOK_SECRET', Buffer.alloc(32).toString('base64')],
  ])('refuses %s=%s with one line that names it', (name, value) => {
    expect(() => gatewayConfig({ [name]: value })).toThrow(new RegExp(`^${name}: [^\\n]+$`))
  })

  test.each([
    'redis://:hidden@',
    'redis://:hidden@a:b',
    'redis://:hidden@[::1',
    'redis://:hid%den@a',
    'http://:hidden@a',
  ])('shows nothing of %s, which may hold a password', REDIS_URL => {
    expect(() => gatewayConfig({ REDIS_URL })).toThrow(/^REDIS_URL: (?!.*hid)[^\n]+$/)
  })

  test('refuses to listen beyond loopback unless told that access control is off', () => {
    expect(() => gatewayConfig({ HOST: '0.0.0.0' })).toThrow(/^MILLRACE_AUTH: .*HOST=0\.0\.0\.0/)
    expect(gatewayConfig({ HOST: '0.0.0.0', MILLRACE_AUTH: 'off' }).HOST).toBe('0.0.0.0')
    for (const HOST of ['127.0.0.1', '127.1.2.3', '::1', 'localhost'])
      expect(gatewayConfig({ HOST }).HOST).toBe(HOST)
  })

  test('takes an empty variable as unset', () => {
    expect(gatewayConfig({ PORT: '' }).PORT).toBe(8080)
    expect(workerConfig({ MILLRACE_TASKS_DIR: '' }).MILLRACE_TASKS_DIR).toBeUndefined()
  })
})

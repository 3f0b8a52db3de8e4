import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from '@jest/globals'
import { readApiKeys } from '../../../gateway/access/api-keys.ts'
import { SCOPES } from '../../../gateway/access/caller.ts'
import { digestOfCredential } from '../../../gateway/access/credential-digest.ts'
import { gatewayConfig } from '../../../shared/config.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-keys-'))
afterAll(() => rmSync(folder, { recursive: true }))

const [A, B] = ['a-secret-of-16-at-least', 'B+/secret.of_16~at-least=']

const inEnv = (MILLRACE_API_KEYS: string) => readApiKeys(gatewayConfig({ MILLRACE_API_KEYS }))
function inFile(text: string) {
  const file = join(folder, 'keys')
  writeFileSync(file, text)
  return readApiKeys(gatewayConfig({ MILLRACE_API_KEYS_FILE: file }))
}

/** Which scopes the holder of a secret has. */
function scopes(keys: ReturnType<typeof inEnv>, sent: string): [string, string[]] | null {
  const caller = keys.get(digestOfCredential(sent))
  return caller ? [caller.name, SCOPES.filter(scope => caller.rights[scope].covers('*')).map(String)] : null
}

describe('API keys', () => {
  test('stand in one list, with scopes or without', () => {
    const keys = inEnv(`web:${A}:tasks.read,subscribe, ops:${B}`)
    expect(scopes(keys, A)).toEqual(['key:web', ['tasks.read', 'subscribe']])
    expect(scopes(keys, B)).toEqual(['key:ops', [...SCOPES]])
    expect(scopes(keys, 'another-secret-of-16')).toBeNull()
  })

  test('are known by their secret, with their name before it or without', () => {
    const keys = inEnv(`web:${A},ops:${B}`)
    expect(scopes(keys, `web:${A}`)).toEqual(scopes(keys, A))
    expect(scopes(keys, `ops:${A}`)).toBeNull()
  })

  test('stand in a file, one a line, beside comments and empty lines', () => {
    const keys = inFile(`# services\n\nweb:${A}:publish,tokens\r\n  # ops:${A}\nops:${B}\n`)
    expect(scopes(keys, A)).toEqual(['key:web', ['publish', 'tokens']])
    expect(scopes(keys, B)).toEqual(['key:ops', [...SCOPES]])
  })

  test.each([
    ['web', 'entry 1 is not name:secret'],
    [`web:${A},ops`, 'entry 2 is not name:secret'],
    [`web:${A},subscribe`, 'entry 2 is not name:secret'],
    ['web:short', 'entry 1 (web) has no secret of at least 16'],
    [`web:${'x'.repeat(15)}`, 'entry 1 (web) has no secret of at least 16'],
    [`:${A}`, 'entry 1 has no name'],
    [`web:${A}:read`, 'entry 1 has a scope that is none of tasks.read, '],
    [`web:${A}:`, 'entry 1 has a scope that is none of '],
    [`web:${A}:publish,`, 'entry 2 has a scope that is none of '],
    [`web:${A}:publish:tokens`, 'entry 1 has too many colons'],
    [`web:${A},web:${B}`, 'two keys are named web'],
    [`web:${A},ops:${A}`, 'ops has the secret of another key'],
  ])('%s is refused, and the refusal repeats no secret', (text, why) => {
    let message = ''
    try {
      inEnv(text)
    } catch (error) {
      message = (error as Error).message
    }
    expect(message).toContain(`MILLRACE_API_KEYS: ${why}`)
    expect(message).not.toContain('secret-of')
  })

  test('in a file are refused with their line', () => {
    expect(() => inFile(`# x\nweb:${A},ops:${B}\n`)).toThrow('MILLRACE_API_KEYS_FILE: line 2: more than one')
    expect(() => inFile(`web:${A}\nops\n`)).toThrow('MILLRACE_API_KEYS_FILE: line 2: entry 1 is not')
    expect(() => readApiKeys(gatewayConfig({ MILLRACE_API_KEYS_FILE: join(folder, 'none') }))).toThrow(
      "MILLRACE_API_KEYS_FILE: can't be read: ENOENT",
    )
  })
})

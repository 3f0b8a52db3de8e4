// API keys: the credentials of services, as MILLRACE_API_KEYS and MILLRACE_API_KEYS_FILE name them.

import { readFileSync } from 'node:fs'
import type { GatewayConfig } from '../../shared/config.ts'
import { StartupError } from '../../shared/startup-error.ts'
import { type Caller, rightsOf, SCOPES, type Scope } from './caller.ts'
import { digestOfCredential } from './credential-digest.ts'
import { EVERYTHING } from './patterns.ts'

const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/

/** What may stand behind `Bearer` (RFC 6750, 2.1): neither a colon nor a comma. */
const SECRET = /^[A-Za-z0-9._~+/-]{16,512}=*$/

const MAX_KEYS = 10_000

interface ApiKey {
  readonly name: string
  readonly secret: string
  readonly scopes: readonly Scope[]
}

/** The callers of all keys, by the digest of what they send. */
export type ApiKeys = ReadonlyMap<string, Caller>

/** Reads the keys of both sources. Throws StartupError, which repeats nothing that may be part of a secret. */
export function readApiKeys(config: GatewayConfig): ApiKeys {
  const { MILLRACE_API_KEYS: list = '', MILLRACE_API_KEYS_FILE: file } = config
  return callersOf([
    ...(list === '' ? [] : parseList(list, 'MILLRACE_API_KEYS')),
    ...(file === undefined ? [] : parseFile(readFile(file))),
  ])
}

/**
 * `name:secret,name:secret:scope,scope,name:secret`: what has a colon begins a key, what has none is a further scope of
 * the key before, since no scope has one.
 */
function parseList(text: string, where: string): ApiKey[] {
  const keys: { name: string; secret: string; scopes: Scope[] }[] = []
  for (const [i, item] of text.split(',').entries()) {
    const [name = '', secret, scope, ...rest] = item.trim().split(':')
    const fault = (what: string) => new StartupError(`${where}: entry ${i + 1} ${what}`)
    const key = keys.at(-1)
    if (secret === undefined) {
      // Of a key without scopes this is no scope: its secret has a comma, or its name was forgotten.
      if (!key || key.scopes.length === 0) throw fault('is not name:secret')
      key.scopes.push(scopeOf(name, fault))
      continue
    }
    if (rest.length > 0) throw fault('has too many colons')
    if (!NAME.test(name)) throw fault('has no name of 1 to 64 of A-Z a-z 0-9 _ . -')
    if (!SECRET.test(secret))
      throw fault(`(${name}) has no secret of at least 16 of A-Z a-z 0-9 - . _ ~ + / =`)
    keys.push({ name, secret, scopes: scope === undefined ? [] : [scopeOf(scope, fault)] })
  }
  return keys
}

/** One key a line; `#` begins a comment line. */
function parseFile(text: string): ApiKey[] {
  return text.split(/\r?\n/).flatMap((line, i) => {
    if (/^\s*(#|$)/.test(line)) return []
    const where = `MILLRACE_API_KEYS_FILE: line ${i + 1}`
    const keys = parseList(line, where)
    if (keys.length > 1) throw new StartupError(`${where}: more than one key`)
    return keys
  })
}

function scopeOf(text: string, fault: (what: string) => StartupError): Scope {
  const scope = SCOPES.find(scope => scope === text)
  if (!scope) throw fault(`has a scope that is none of ${SCOPES.join(', ')}`)
  return scope
}

function callersOf(keys: readonly ApiKey[]): ApiKeys {
  if (keys.length > MAX_KEYS) throw new StartupError(`MILLRACE_API_KEYS: more than ${MAX_KEYS} keys`)
  const names = new Set<string>()
  const callers = new Map<string, Caller>()
  for (const { name, secret, scopes } of keys) {
    if (names.has(name)) throw new StartupError(`MILLRACE_API_KEYS: two keys are named ${name}`)
    names.add(name)
    const caller: Caller = {
      name: `key:${name}`,
      credential: 'api-key',
      rights: rightsOf(scopes.length === 0 ? SCOPES : scopes),
      types: EVERYTHING,
      expiresAt: null,
    }
    // Some will send the key as it was configured.
    for (const sent of [secret, `${name}:${secret}`]) {
      const digest = digestOfCredential(sent)
      if (callers.has(digest))
        throw new StartupError(`MILLRACE_API_KEYS: ${name} has the secret of another key`)
      callers.set(digest, caller)
    }
  }
  return callers
}

function readFile(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new StartupError(`MILLRACE_API_KEYS_FILE: can't be read: ${(error as NodeJS.ErrnoException).code}`)
  }
}

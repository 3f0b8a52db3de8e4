import { describe, expect, test } from '@jest/globals'
import { checkHttpTarget, parseHttpTargets } from '../../shared/http-targets.ts'

describe('parseHttpTargets', () => {
  test('reads origins with and without a path and skips blanks', () => {
    const targets = parseHttpTargets(
      ' http://127.0.0.1:9000/jobs/ , https://Files.Example:443,, http://[::1]:80/ ',
    )
    expect(targets).toEqual([
      { origin: 'http://127.0.0.1:9000', path: '/jobs' },
      { origin: 'https://files.example', path: '' },
      { origin: 'http://[::1]', path: '' },
    ])
    expect(parseHttpTargets('')).toEqual([])
  })

  test.each([
    'ftp://files.example',
    'files.example',
    'localhost:9000',
    'http://',
    'http://*.example',
    'http://files.example/?a=b',
    'http://files.example/#top',
    'http://files.example/a%2fb',
    'http://169.254.169.254/latest',
    'http://0.0.0.0:80',
    'http://[fe80::1]/',
    'http://[::ffff:169.254.169.254]/',
    'http://224.0.0.1',
  ])('names the variable and the entry %s', entry => {
    const fault = () => parseHttpTargets(`http://127.0.0.1:9000,${entry}`)
    expect(fault).toThrow(/^MILLRACE_HTTP_TARGETS: /)
    expect(fault).toThrow(`"${entry}"`)
  })

  test('does not repeat credentials in its message', () => {
    const fault = () => parseHttpTargets('http://user:hunter2@files.example')
    expect(fault).toThrow('"files.example" must not carry credentials')
    expect(fault).not.toThrow('hunter2')
  })
})

describe('checkHttpTarget', () => {
  const targets = parseHttpTargets('http://127.0.0.1:9000/jobs,https://files.example')

  test.each([
    'http://127.0.0.1:9000/jobs',
    'http://127.0.0.1:9000/jobs/',
    'http://127.0.0.1:9000/jobs/1?x=../..',
    'http://127.0.0.1:9000/other/../jobs/1',
    'http://0x7f.1:9000/jobs',
    'https://files.example/any%2Fthing',
    'HTTPS://FILES.EXAMPLE:443/',
  ])('allows %s', url => {
    expect(checkHttpTarget(targets, url).href).toBe(new URL(url).href)
  })

  test.each([
    'http://127.0.0.1:9000/',
    'http://127.0.0.1:9000/jobsworth',
    'http://127.0.0.1:9000/Jobs',
    'http://127.0.0.1:9000/jobs/../admin',
    'http://127.0.0.1:9000/jobs/%2e%2E/admin',
    'http://127.0.0.1:9000/jobs/..%2fadmin',
    'http://127.0.0.1:9000/jobs/..%5Cadmin',
    'http://127.0.0.1:9000/jobs/%252e%252e/admin',
    'http://127.0.0.1:9000/jobs/%%32%65./admin',
    'http://127.0.0.1:9000/jobs/..;/admin',
    'http://127.0.0.1:9000/jobs/..%3b/admin',
    'http://127.0.0.1:9000/jobs/%c0%ae%c0%ae/admin',
    'http://127.0.0.1:9000/jobs\\..\\admin',
    'http://127.0.0.1:9001/jobs',
    'https://127.0.0.1:9000/jobs',
    'http://127.0.0.2:9000/jobs',
    'http://files.example/',
    'https://files.example.evil.test/',
    'https://files.example@evil.test/',
    'https://user@files.example/',
    'https://:secret@files.example/',
    'https://evil.test/https://files.example/',
    'file:///etc/passwd',
    'not a url',
    '',
  ])('refuses %s', url => {
    expect(() => checkHttpTarget(targets, url)).toThrow(
      expect.objectContaining({ code: 'target-not-allowed', retryable: false }),
    )
  })

  test('refuses everything when nothing is listed', () => {
    expect(() => checkHttpTarget([], 'http://127.0.0.1:9000/')).toThrow('MILLRACE_HTTP_TARGETS')
  })
})

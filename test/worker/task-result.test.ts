import { describe, expect, test } from '@jest/globals'
import { checkResult, MAX_RESULT_BYTES } from '../../worker/task-result.ts'

const code = (value: unknown) => {
  const checked = checkResult(value)
  return checked.ok ? 'ok' : checked.error.code
}

describe('the result of a handler', () => {
  test('is what JSON makes of it, null for nothing', () => {
    expect(checkResult({ at: new Date(0), gone: undefined })).toEqual({
      ok: true,
      result: { at: '1970-01-01T00:00:00.000Z' },
    })
    expect(checkResult(undefined)).toEqual({ ok: true, result: null })
  })

  test('is refused when it is not JSON', () => {
    const cyclic: Record<string, unknown> = {}
    cyclic.self = cyclic
    const throwing = {
      toJSON() {
        throw new Error('no')
      },
    }
    for (const value of [cyclic, 1n, () => 1, Symbol('x'), throwing])
      expect(code(value)).toBe('result-not-serializable')
  })

  test('is refused over its limit, counted in bytes and not in characters', () => {
    expect(code('x'.repeat(MAX_RESULT_BYTES - 2))).toBe('ok')
    expect(code('x'.repeat(MAX_RESULT_BYTES - 1))).toBe('result-too-large')
    expect(code('ä'.repeat(MAX_RESULT_BYTES / 2))).toBe('result-too-large')
  })

  test('is refused where it nests deeper than others could read', () => {
    const nested = (levels: number) => JSON.parse('['.repeat(levels) + ']'.repeat(levels))
    expect(code(nested(100))).toBe('ok')
    expect(code(nested(101))).toBe('result-not-serializable')
  })

  test('fails for good when it is refused', () => {
    expect(checkResult(1n)).toMatchObject({ error: { retryable: false } })
  })
})

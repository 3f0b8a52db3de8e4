import { describe, expect, test } from '@jest/globals'
import { stackOf, toTaskError } from '../../worker/task-failure.ts'

describe('what is recorded of a thrown value', () => {
  test('is its message, and by default a retryable handler-error', () => {
    expect(toTaskError(new Error('no such row'))).toEqual({
      code: 'handler-error',
      message: 'no such row',
      retryable: true,
    })
  })

  test('has the code that the error has, if that is a string', () => {
    expect(toTaskError(Object.assign(new Error('x'), { code: 'ENOENT' })).code).toBe('ENOENT')
    expect(toTaskError(Object.assign(new Error('x'), { code: 42 })).code).toBe('handler-error')
  })

  test('is final only when the error says retryable: false', () => {
    expect(toTaskError({ message: 'x', retryable: false }).retryable).toBe(false)
    expect(toTaskError({ message: 'x', retryable: 0 }).retryable).toBe(true)
  })

  test('keeps long messages and codes within their bounds', () => {
    const error = toTaskError(Object.assign(new Error('m'.repeat(10_000)), { code: 'c'.repeat(10_000) }))
    expect(error.message).toHaveLength(2_000)
    expect(error.code).toHaveLength(100)
  })

  const cyclic = new Error('round and round')
  cyclic.cause = cyclic
  const hostile = new Proxy(
    {},
    {
      get() {
        throw new Error('not even this')
      },
    },
  )
  test.each([
    ['a string', 'just text', 'just text'],
    ['an empty string', '', 'the handler threw an empty string'],
    ['null', null, 'the handler threw null'],
    ['undefined', undefined, 'the handler threw undefined'],
    ['a number', 7, 'the handler threw 7'],
    ['a symbol', Symbol('odd'), 'the handler threw Symbol(odd)'],
    ['an error without a message', new TypeError(), 'TypeError'],
    ['an error that is its own cause', cyclic, 'round and round'],
    [
      'an object without a prototype',
      Object.create(null),
      'the handler threw something that cannot be shown',
    ],
    ['a value that throws when it is looked at', hostile, 'the handler threw something that cannot be shown'],
  ])('is a message even of %s', (_what, thrown, message) => {
    expect(toTaskError(thrown)).toEqual({ code: 'handler-error', message, retryable: true })
    expect(() => stackOf(thrown)).not.toThrow()
  })
})

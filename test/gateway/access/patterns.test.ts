import { describe, expect, test } from '@jest/globals'
import { EVERYTHING, Patterns } from '../../../gateway/access/patterns.ts'

describe('patterns', () => {
  const some = new Patterns(['room:1', 'user:*', 'a*'])

  test.each([
    ['room:1', true],
    ['room:10', false],
    ['room:', false],
    ['user:', true],
    ['user:42', true],
    ['use', false],
    ['a', true],
    ['b', false],
  ])('have %s: %s', (name, has) => expect(some.has(name)).toBe(has))

  test.each([
    ['room:1', true],
    ['room:1*', false],
    ['user:*', true],
    ['user:42*', true],
    ['use*', false],
    ['*', false],
  ])('cover %s: %s', (pattern, covered) => expect(some.covers(pattern)).toBe(covered))

  test('of * have and cover everything', () => {
    expect(EVERYTHING.has('x')).toBe(true)
    expect(EVERYTHING.covers('*')).toBe(true)
  })

  test('take a * as a wildcard at the end alone', () => {
    const patterns = new Patterns(['a*b'])
    expect([patterns.has('axb'), patterns.has('a*b')]).toEqual([false, true])
  })
})

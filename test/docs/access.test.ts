import { expect, test } from '@jest/globals'
import { SCOPES } from '../../gateway/access/caller.ts'
import { RULES } from '../../gateway/access/rules.ts'
import { readPage, section, tableRows } from './pages.ts'

const page = readPage('docs/access.md')

/** First cells that are code, with the cell after each, both without the marks of code. */
const documented = (heading: string) =>
  tableRows(section(page, heading))
    .filter(([first]) => first?.startsWith('`'))
    .map(([first = '', next = '']) => [first, next].map(cell => cell.replaceAll('`', '')))

test('docs/access.md says of every call what it needs, as the code does', () => {
  const rules = Object.entries(RULES).map(([route, { needs }]) => [route.replace(/:(\w+)/, '{$1}'), needs])
  expect(documented('## What each call needs').toSorted()).toEqual(rules.toSorted())
})

test('docs/access.md lists every scope, and no other', () => {
  expect(documented('### Scopes').map(([name]) => name)).toEqual([...SCOPES])
})

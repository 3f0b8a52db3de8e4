import { expect, test } from '@jest/globals'
import { PROBLEMS } from '../../gateway/http/problem.ts'
import { submissionSchema } from '../../gateway/routes/submission.ts'
import { readPage, section, tableRows } from './pages.ts'

const page = readPage('docs/http-api.md')

/** First cells that are code, with the cell after each. */
const documented = (heading: string) =>
  tableRows(section(page, heading)).flatMap(([name = '', next = '']) => {
    const code = /^`([^`]+)`$/.exec(name)?.[1]
    return code ? [[code, next] as const] : []
  })

test('docs/http-api.md lists every error code with its status, and no other', () => {
  const codes = Object.entries(PROBLEMS).map(([code, { status }]) => [code, String(status)])
  expect(documented('## Errors').toSorted()).toEqual(codes.toSorted())
})

test('docs/http-api.md lists every field of a submission, and no other', () => {
  const fields = documented('## Submit a task').map(([name]) => name)
  expect(fields.toSorted()).toEqual(Object.keys(submissionSchema.shape).toSorted())
})

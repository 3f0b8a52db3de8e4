import { existsSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { projectRoot } from '../../dev/project-root.ts'
import { allPages, type Page, readPage } from './pages.ts'

/** Targets of links that lead neither to another host nor to a mail. */
function relativeLinks({ prose }: Page): string[] {
  return [...prose.replace(/`[^`\n]*`/g, '').matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target = '']) => target)
    .filter(target => !/^[a-z]+:/.test(target))
}

/** The anchors of a page's headings, as GitHub names them. */
function anchors({ prose }: Page): string[] {
  return [...prose.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  )
}

function isBroken(page: Page, target: string): boolean {
  const [file = '', anchor] = target.split('#')
  const path = file === '' ? page.path : normalize(join(dirname(page.path), file))
  if (!existsSync(join(projectRoot(), path))) return true
  return anchor !== undefined && !anchors(readPage(path)).includes(anchor)
}

describe('the documentation', () => {
  test.each(allPages().map(page => [page.path, page] as const))('%s has no broken links', (_, page) => {
    expect(relativeLinks(page).filter(target => isBroken(page, target))).toEqual([])
  })

  test('can be reached page by page from the README', () => {
    const reached = new Set(['README.md'])
    for (const path of reached) {
      for (const target of relativeLinks(readPage(path))) {
        const linked = normalize(join(dirname(path), target.split('#')[0] ?? ''))
        if (linked.endsWith('.md')) reached.add(linked)
      }
    }
    expect([...reached].sort()).toEqual(
      allPages()
        .map(({ path }) => path)
        .sort(),
    )
  })
})

/** The project's Markdown pages, as the tests of this folder read them. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { projectRoot } from '../../dev/project-root.ts'

export interface Page {
  /** From the project's root, with forward slashes. */
  readonly path: string
  readonly text: string
  /** Without fenced blocks. */
  readonly prose: string
}

const FENCED_BLOCK = /^ *```[\s\S]*?^ *```$/gm

/** Reads one page; `path` is relative to the project's root. */
export function readPage(path: string): Page {
  const text = readFileSync(join(projectRoot(), path), 'utf8')
  return { path, text, prose: text.replace(FENCED_BLOCK, '') }
}

/** The pages of the root folder and of `docs/`. */
export function allPages(): Page[] {
  const docs = readdirSync(join(projectRoot(), 'docs'), { recursive: true, encoding: 'utf8' })
  const paths = [...readdirSync(projectRoot()), ...docs.map(name => join('docs', name))]
  return paths.filter(path => path.endsWith('.md')).map(readPage)
}

/** The rows of all tables of a text: the cells of each, trimmed. */
export function tableRows(text: string): string[][] {
  return [...text.matchAll(/^\|(.*)\|$/gm)].map(([, row = '']) => row.split('|').map(cell => cell.trim()))
}

/** The part of a page under a heading, up to the next one of that level. */
export function section({ path, text }: Page, heading: string): string {
  const [level = ''] = /^#+/.exec(heading) ?? []
  const start = text.indexOf(`\n${heading}\n`)
  if (start < 0) throw new Error(`${path} has no heading "${heading}"`)
  const body = text.slice(start + heading.length + 2)
  const end = body.search(new RegExp(`^#{1,${level.length}} `, 'm'))
  return end < 0 ? body : body.slice(0, end)
}

/** The contents of its fenced blocks in one language. */
export function fencedBlocks({ text }: Page, language: string): string[] {
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\n([\\s\\S]*?)^\`\`\`$`, 'gm'))].map(
    ([, body = '']) => body,
  )
}

// The origins whose pages may use the API from a browser (MILLRACE_CORS_ORIGINS). Pure; cors.ts tells browsers of them.

import { StartupError } from '../../shared/startup-error.ts'

/** In place of an origin: pages from anywhere. */
const ANY = '*'

export class AllowedOrigins {
  /** Whether pages from anywhere may use what needs none of the browser's own credentials. */
  readonly any: boolean
  readonly #named: ReadonlySet<string>

  /** Reads comma-separated origins. Throws a StartupError that names the variable and the entry that is wrong. */
  constructor(text: string) {
    const entries = text
      .split(',')
      .map(entry => entry.trim())
      .filter(entry => entry !== '')
    const named = entries.filter(entry => entry !== ANY)
    for (const entry of named) checkOrigin(entry)
    this.any = named.length < entries.length
    this.#named = new Set(named)
  }

  /** Whether no page of another origin may. */
  get none(): boolean {
    return !this.any && this.#named.size === 0
  }

  /** Whether pages of this origin, as the `Origin` header has it, may send requests and read the answers. */
  allows(origin: string): boolean {
    return origin !== '' && (this.any || this.#named.has(origin))
  }

  /** Whether they may with the browser's cookies too: an origin has to be named for that. */
  trusts(origin: string): boolean {
    return this.#named.has(origin)
  }
}

/** Browsers compare the text of origins, so one that is written in another way would never match. */
function checkOrigin(entry: string): void {
  const url = URL.canParse(entry) ? new URL(entry) : null
  const isPlain = url !== null && /^https?:$/.test(url.protocol) && !entry.includes('*')
  if (isPlain && url.origin === entry) return
  const shown = url?.username || url?.password ? url.host : entry
  const hint = isPlain ? `; did you mean ${url.origin}?` : ''
  throw new StartupError(
    `MILLRACE_CORS_ORIGINS: "${shown}" is not an origin such as https://app.example${hint}`,
  )
}

// The version of this installation.

import { createRequire } from 'node:module'

// By the package's own name, since the source and the build lie at different depths.
const manifest = createRequire(import.meta.url)('millrace/package.json') as { version: string }

export const VERSION: string = manifest.version

// What credentials are looked up by.

import { hash } from 'node:crypto'

/**
 * Credentials are compared by their digests alone: how long a look-up takes tells nothing of a secret, since nobody can
 * choose what a secret's digest begins with. Memory then holds none of them either.
 */
export function digestOfCredential(credential: string): string {
  return hash('sha256', credential, 'base64url')
}

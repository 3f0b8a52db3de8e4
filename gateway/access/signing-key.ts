// The key that signs Millrace's own tokens, on which all gateways have to agree.

import { createSecretKey, hkdfSync, type KeyObject } from 'node:crypto'

export interface SigningKey {
  /** Throws `redis-unavailable` where it is not known yet. */
  current(): KeyObject
}

/** What else the secret is used for has nothing to do with the key (RFC 5869, 3.2). */
const PURPOSE = 'millrace subscriber tokens'

/** A key that whoever knows the secret comes to as well. */
export function deriveKey(secret: string): KeyObject {
  return createSecretKey(Buffer.from(hkdfSync('sha256', secret, '', PURPOSE, 32)))
}

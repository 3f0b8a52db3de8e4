// What is remembered of tokens, and what is forgotten with the keys that they were checked by.

import { expect, test } from '@jest/globals'
import { Credentials } from '../../../gateway/access/credentials.ts'
import { deriveKey } from '../../../gateway/access/signing-key.ts'
import { SubscriberTokens } from '../../../gateway/access/subscriber-tokens.ts'
import { UserTokens } from '../../../gateway/access/user-tokens.ts'
import { gatewayConfig } from '../../../shared/config.ts'
import { createLogger } from '../../../shared/log.ts'

test('a token that is checked while the key changes is not known afterwards', async () => {
  let key = deriveKey('the one before')
  const tokens = new SubscriberTokens({ current: () => key })
  const userTokens = new UserTokens(gatewayConfig({}), createLogger('gateway', 'silent'), () => undefined)
  const credentials = new Credentials(new Map(), tokens, userTokens)
  const text = tokens.sign({ subscribe: ['a'], expiresAt: Date.now() + 60_000 })
  const given = { text, from: 'header' } as const

  const underWay = credentials.callerOf(given)
  key = deriveKey('the one after')
  credentials.forget()
  await underWay
  await expect(async () => credentials.callerOf(given)).rejects.toMatchObject({ code: 'unauthorized' })
})

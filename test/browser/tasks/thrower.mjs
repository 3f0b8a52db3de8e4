// Fails with what it was given, and says it in the names that it may choose.

export default {
  type: 'thrower',
  run({ text }) {
    throw Object.assign(new Error(text), { code: text.slice(0, 100), retryable: false })
  },
}

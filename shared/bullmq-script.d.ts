// The package says nothing of the types of its inner modules.

declare module 'bullmq/dist/cjs/scripts/addStandardJob-9.js' {
  /** What BullMQ adds a job with that has neither delay nor priority. */
  export const addStandardJob: { readonly name: string; readonly content: string; readonly keys: number }
}

// The package says nothing of the types of its inner modules.

declare module 'bullmq/dist/cjs/scripts/moveToFinished-14.js' {
  /** What BullMQ ends a job with, and takes the next one. */
  export const moveToFinished: { readonly name: string; readonly content: string; readonly keys: number }
}

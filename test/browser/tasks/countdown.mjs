// The task that ships, beside the one that only tests have.
export { default } from '../../../dist/worker/tasks/countdown.js'

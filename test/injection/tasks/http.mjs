// The task that ships, beside those that only tests have.
export { createTask } from '../../../dist/worker/tasks/http.js'

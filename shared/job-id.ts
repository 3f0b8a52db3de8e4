// What the job of a task is called in a queue of BullMQ. A queue keeps keys of its own beside those of its jobs, under
// names such as `wait` and `meta`; a job of that name would break it, and a task may be called so.

const PREFIX = 'task.'

export const jobIdOf = (taskId: string): string => PREFIX + taskId

/** Of a job that was given its id by {@link jobIdOf}. */
export const taskIdOfJob = (jobId: string): string => jobId.slice(PREFIX.length)

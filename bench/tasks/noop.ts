// The task of the benchmark of workers: what is measured is all that is done around it.

export default {
  type: 'noop',
  run: () => null,
}

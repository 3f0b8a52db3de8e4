// Says its input in every way that a handler can. Without a schema, so that anything gets here.

export default {
  type: 'echo',
  async run(input, context) {
    await context.output(input)
    await context.emit('own', input)
    await context.log(JSON.stringify(input))
    await context.progress(50, JSON.stringify(input), input)
    return input
  },
}

// Reads an event stream line by line (WHATWG HTML, "Server-sent events"). Other than most parsers it also tells
// of blocks that carry nothing but an id: they move the cursor.

export interface Block {
  /** Null where the block has none. */
  readonly id: string | null
  /** '' where the block has none. */
  readonly type: string
  /** Null where there is nothing to dispatch. */
  readonly data: string | null
}

export class EventReader {
  readonly #onBlock: (block: Block) => void
  #rest = ''
  #id: string | null = null
  #type = ''
  #data: string | null = null

  /** A block is told of when it is complete, so that an id never counts without its event. */
  constructor(onBlock: (block: Block) => void) {
    this.#onBlock = onBlock
  }

  push(text: string): void {
    const lines = (this.#rest + text).split('\n')
    this.#rest = lines.pop() ?? ''
    for (const line of lines) this.#take(line)
  }

  #take(line: string): void {
    if (line === '') {
      this.#dispatch()
      return
    }
    const colon = line.indexOf(':')
    const value = line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1)
    switch (line.slice(0, colon)) {
      case 'data':
        this.#data = this.#data === null ? value : `${this.#data}\n${value}`
        break
      case 'id':
        this.#id = value
        break
      case 'event':
        this.#type = value
    }
  }

  #dispatch(): void {
    const block = { id: this.#id, type: this.#type, data: this.#data }
    this.#id = null
    this.#type = ''
    this.#data = null
    if (block.id !== null || block.data !== null) this.#onBlock(block)
  }
}

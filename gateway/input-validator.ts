// Checks the input of tasks against the JSON Schema (2020-12) that their type was announced with.

import type { ErrorObject, Options, ValidateFunction } from 'ajv'
import { Ajv2020 } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import type { FieldError } from '../shared/errors.ts'
import type { Logger } from '../shared/log.ts'
import { dottedPath, MAX_FIELD_ERRORS } from './http/checked-request.ts'

/** Compiled schemas that are kept; past it the one that was made first goes. */
const MAX_COMPILED = 200

/** Finding every fault of a large input costs an object each, so of such input only the first is told. */
const MAX_CHARS_FOR_ALL_FAULTS = 16 * 1024

const OPTIONS: Options = { strict: false, logger: false, addUsedSchema: false }

interface Compiled {
  /** Stops at the first fault. */
  readonly first: ValidateFunction
  readonly all: ValidateFunction
}

export class InputValidator {
  readonly #log: Logger
  /** By the schema's text; null = it does not compile. */
  readonly #compiled = new Map<string, Compiled | null>()
  /** The same by the schema itself, whose text is long. */
  readonly #known = new WeakMap<object, Compiled | null>()

  constructor(log: Logger) {
    this.#log = log
  }

  /**
   * What is wrong with an input, with paths that begin with `input`; empty when it is right. A schema that
   * can't be compiled here lets everything pass: the worker checks again, against the handler's own schema.
   */
  check(type: string, schema: object, input: unknown): FieldError[] {
    const compiled = this.#compile(type, schema)
    if (!compiled || compiled.first(input)) return []
    const small = JSON.stringify(input).length <= MAX_CHARS_FOR_ALL_FAULTS
    const validate = small ? compiled.all : compiled.first
    validate(input)
    // Why a name is refused is told a second time, as an error of the object.
    const errors = (validate.errors ?? []).filter(({ propertyName }) => propertyName === undefined)
    return errors.slice(0, MAX_FIELD_ERRORS).map(fieldError)
  }

  #compile(type: string, schema: object): Compiled | null {
    const known = this.#known.get(schema)
    if (known !== undefined) return known
    const compiled = this.#compileText(type, schema)
    this.#known.set(schema, compiled)
    return compiled
  }

  #compileText(type: string, schema: object): Compiled | null {
    const text = JSON.stringify(schema)
    const known = this.#compiled.get(text)
    if (known !== undefined) return known
    const [oldest] = this.#compiled.keys()
    if (this.#compiled.size >= MAX_COMPILED && oldest !== undefined) this.#compiled.delete(oldest)
    const compiled = this.#tryToCompile(type, schema)
    this.#compiled.set(text, compiled)
    return compiled
  }

  #tryToCompile(type: string, schema: object): Compiled | null {
    try {
      return { first: compile(schema, false), all: compile(schema, true) }
    } catch (error) {
      this.#log.warn(
        { err: error, type },
        'the schema of a task type does not compile: its input is not checked here',
      )
      return null
    }
  }
}

/** An instance for each schema: one shared by all would refuse a second schema with the same `$id`. */
function compile(schema: object, allErrors: boolean): ValidateFunction {
  const ajv = new Ajv2020({ ...OPTIONS, allErrors })
  addFormats.default(ajv)
  return ajv.compile(schema)
}

function fieldError({ instancePath, params, message }: ErrorObject): FieldError {
  const steps = instancePath
    .split('/')
    .slice(1)
    .map(step => step.replaceAll('~1', '/').replaceAll('~0', '~'))
  // Ajv reports these at the object; the reader looks for the property.
  const { missingProperty, propertyName } = params
  const property = missingProperty ?? propertyName ?? params.additionalProperty ?? params.unevaluatedProperty
  const path = dottedPath(['input', ...steps, ...(property === undefined ? [] : [property])])
  if (missingProperty !== undefined) return { path, message: 'is required' }
  return {
    path,
    message: propertyName === undefined ? (message ?? 'is not valid') : 'is not an allowed name',
  }
}

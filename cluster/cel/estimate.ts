/**
 * What an expression is before anybody evaluates it: which fields it names that its values cannot have, and what it costs at worst, by the
 * schemas of its variables (Kubernetes "Resource use by validation functions"). Costs are counted as cel-go counts them: a step 1, text a tenth for
 * each letter, a comprehension its body for each item; how many items there may be the schema says, else the largest request.
 *
 * What is not known is taken to be right and to cost little: an estimate is no type check.
 */
import type { ASTNode } from '@marcbachmann/cel-js';
import { resolveSchema, type Schema } from '../kinds/schema.ts';
import { placeInSource } from './library-strings.ts';
import { celName } from './value.ts';

export interface Estimate {
  cost: number;
  /** With the place of its dot in the text that was compiled. */
  undefinedField?: { name: string; at: number };
}

/** Bytes of a request. */
const LARGEST = 3 * 1024 * 1024 - 2;
const COMPREHENSIONS = new Set(['all', 'exists', 'exists_one', 'existsOne', 'filter', 'map', 'sortBy']);
/** Fields of every object that the schema need not have. */
const OBJECT_FIELDS = ['apiVersion', 'kind', 'metadata'];

interface Value {
  /** Undefined: nobody knows. */
  schema: Schema | undefined;
  /** The root of an object, or one within it. */
  whole?: boolean;
  /** Letters, items or entries at most. */
  size: number;
}

const UNKNOWN: Value = { schema: undefined, size: 1 };

/**
 * @param variables  their schemas by their names; of others nothing is known
 * @param whole      their values are objects of their own, with metadata
 */
export function estimate(ast: ASTNode, variables: Readonly<Record<string, Schema>>, whole: boolean): Estimate {
  const visitor = new Visitor();
  const values = Object.entries(variables).map(([name, schema]) => [name, { ...valueOf(schema), whole }] as const);
  visitor.visit(ast, new Map(values));
  return {
    cost: visitor.cost,
    ...(visitor.missing === undefined ? {} : { undefinedField: visitor.missing }),
  };
}

/** In cel-go's words, with the line. */
export function undefinedFieldText(source: string, { name, at }: NonNullable<Estimate['undefinedField']>): string {
  const before = source.slice(0, placeInSource(source, at)).split('\n');
  const column = before.at(-1)?.length ?? 0;
  const line = source.split('\n')[before.length - 1] ?? '';
  const place = ` | ${line}\n | ${'.'.repeat(column)}^`;
  return `ERROR: <input>:${before.length}:${column + 1}: undefined field '${name}'\n${place}`;
}

/** How many values of the schema fit into one request. */
export function mostOf(schema: Schema): number {
  return LARGEST / (leastOf(schema) + 1);
}

class Visitor {
  cost = 0;
  /** Of the body of a comprehension: for each item once. */
  #times = 1;
  missing: { name: string; at: number } | undefined;

  visit(node: ASTNode, scope: ReadonlyMap<string, Value>): Value {
    switch (node.op) {
      case 'value':
        return { schema: undefined, size: typeof node.args === 'string' ? node.args.length : 1 };
      case 'id':
        this.#add(1);
        return scope.get(node.args) ?? UNKNOWN;
      case '.':
      case '.?':
        return this.#select(node.args[0], node.args[1], node, scope);
      case '[]':
      case '[?]': {
        const of = this.visit(node.args[0], scope);
        this.visit(node.args[1], scope);
        this.#add(1);
        return entryOf(of);
      }
      case 'call':
        for (const argument of node.args[1]) this.visit(argument, scope);
        this.#add(1);
        return UNKNOWN;
      case 'rcall':
        return this.#method(node.args[0], node.args[1], node.args[2], scope);
      case 'list':
        this.#add(10);
        for (const item of node.args) this.visit(item, scope);
        return { schema: undefined, size: node.args.length };
      case 'map':
        this.#add(30);
        for (const pair of node.args) for (const one of pair) this.visit(one, scope);
        return { schema: undefined, size: node.args.length };
      case '?:':
        this.visit(node.args[0], scope);
        this.visit(node.args[1], scope);
        return this.visit(node.args[2], scope);
      case '!_':
      case '-_':
        this.#add(1);
        return this.visit(node.args, scope);
      default:
        return this.#operator(node.op, node.args[0], node.args[1], scope);
    }
  }

  #add(cost: number): void {
    this.cost += cost * this.#times;
  }

  #select(of: ASTNode, name: string, { pos }: ASTNode, scope: ReadonlyMap<string, Value>): Value {
    const { schema, whole } = this.visit(of, scope);
    this.#add(1);
    if (schema === undefined) return UNKNOWN;
    if (typeof schema.additionalProperties === 'object') return valueOf(schema.additionalProperties);
    for (const [key, inner] of Object.entries(schema.properties ?? {}))
      if (celName(key) === name) return valueOf(inner);
    const open = schema['x-kubernetes-preserve-unknown-fields'] === true || schema.additionalProperties === true;
    const own = (whole === true || schema['x-kubernetes-embedded-resource'] === true) && OBJECT_FIELDS.includes(name);
    if (schema.type === 'object' && !open && !own) this.missing ??= { name, at: pos - 1 };
    return UNKNOWN;
  }

  #method(name: string, of: ASTNode, parameters: ASTNode[], scope: ReadonlyMap<string, Value>): Value {
    const on = this.visit(of, scope);
    const [variable, ...body] = parameters;
    if (name === 'bind' && variable?.op === 'id' && body[0] !== undefined && body[1] !== undefined)
      return this.visit(body[1], new Map([...scope, [variable.args, this.visit(body[0], scope)]]));
    if (COMPREHENSIONS.has(name) && variable?.op === 'id') {
      const { type, items } = on.schema ?? {};
      const one = type === 'array' && items !== undefined ? valueOf(items) : UNKNOWN;
      const before = this.#times;
      this.#times *= Math.max(1, on.size);
      this.#add(1);
      for (const part of body) this.visit(part, new Map([...scope, [variable.args, one]]));
      this.#times = before;
      return name === 'filter' ? on : { schema: undefined, size: on.size };
    }
    const [first = UNKNOWN] = parameters.map((parameter) => this.visit(parameter, scope));
    this.#add(1 + traversed(name, on.size, first.size));
    return name === 'orValue' || name === 'value' ? on : UNKNOWN;
  }

  #operator(op: string, left: ASTNode, right: ASTNode, scope: ReadonlyMap<string, Value>): Value {
    const [a, b] = [this.visit(left, scope), this.visit(right, scope)];
    if (op === '==' || op === '!=') this.#add(Math.max(1, Math.min(a.size, b.size) / 10));
    else if (op === 'in') this.#add(b.schema?.type === 'object' ? 1 : b.size);
    else if (op === '+') this.#add(Math.max(1, (a.size + b.size) / 10));
    else if (op !== '&&' && op !== '||') this.#add(1);
    return op === '+' ? { schema: undefined, size: a.size + b.size } : UNKNOWN;
  }
}

/** What a function reads. */
function traversed(name: string, size: number, parameter: number): number {
  switch (name) {
    case 'matches':
      return Math.ceil(size / 10) * Math.ceil(parameter / 4);
    case 'contains':
      return (size * parameter) / 10;
    case 'startsWith':
    case 'endsWith':
      return parameter / 10;
    case 'join':
    case 'split':
    case 'replace':
    case 'lowerAscii':
    case 'upperAscii':
    case 'indexOf':
    case 'lastIndexOf':
    case 'find':
    case 'findAll':
      return size / 10;
    case 'isSorted':
    case 'sum':
    case 'min':
    case 'max':
      return size;
    default:
      return 0;
  }
}

function entryOf({ schema }: Value): Value {
  const inner = schema?.items ?? schema?.additionalProperties;
  return typeof inner === 'object' ? valueOf(inner) : UNKNOWN;
}

function valueOf(reference: Schema): Value {
  const schema = resolveSchema(reference);
  // Of built-in types: whatever somebody brings.
  if (reference.$ref !== undefined && schema.type === 'object' && schema.properties === undefined) return UNKNOWN;
  if (schema['x-kubernetes-int-or-string'] === true || schema.type === undefined) return { schema: undefined, size: 1 };
  return { schema, size: sizeOf(schema) };
}

function sizeOf(schema: Schema): number {
  if (schema.type === 'string')
    return (
      schema.maxLength ??
      (schema.enum === undefined ? LARGEST : Math.max(0, ...schema.enum.map((one) => String(one).length)))
    );
  if (schema.type === 'array') return schema.maxItems ?? LARGEST / (leastOf(schema.items) + 1);
  if (schema.type === 'object' && typeof schema.additionalProperties === 'object')
    return schema.maxProperties ?? LARGEST / (leastOf(schema.additionalProperties) + 4);
  return 1;
}

/** Bytes of the shortest value in JSON. */
function leastOf(schema: Schema | undefined): number {
  if (schema?.type === 'object')
    return (schema.required ?? []).reduce((sum, key) => sum + key.length + 4 + leastOf(schema.properties?.[key]), 2);
  return schema?.type === 'string' || schema?.type === 'array' ? 2 : schema?.type === 'boolean' ? 4 : 1;
}

/**
 * Reads Kubernetes' protobuf encoding (API concepts, "Kubernetes Protobuf encoding"), in which kubectl 1.32 and later send
 * what they create: the magic `k8s\0`, an envelope, and the object. `protobuf-encode.ts` writes it.
 *
 * The field numbers (`protobuf-fields.json`, from the public API types) stand beside the schemas, which give the types.
 * The encoding writes empty values where JSON leaves a field out; `values` are those fields, in `pointers` empty means set.
 */
import { readFileSync } from 'node:fs';
import { ownField, setOwn } from '#lib/own-field.ts';
import { ProtobufError, protobufBytes as asBytes, protobufFields as fieldsOf } from '#lib/protobuf.ts';
import {
  definitions,
  INT_OR_STRING,
  type MessageFields,
  QUANTITY,
  refName,
  resolveSchema,
  type Schema,
} from './schema.ts';

interface Field {
  name: string;
  /** Left out when empty. */
  value: boolean;
  inline: string | undefined;
}

export const MAGIC: Buffer = Buffer.from('k8s\0');
const META = 'io.k8s.apimachinery.pkg.apis.meta.v1.';
const TIMES = [`${META}Time`, `${META}MicroTime`];
const RAW = [`${META}FieldsV1`, 'io.k8s.apimachinery.pkg.runtime.RawExtension'];

let messages: Record<string, MessageFields> | undefined;
let tables: Map<string, Map<number, Field>> | undefined;
let names: Map<string, string> | undefined;

/** The object as JSON would give it. Throws `ProtobufError`, also for kinds without a schema. */
export function decodeProtobuf(body: Buffer): Record<string, unknown> {
  if (!body.subarray(0, 4).equals(MAGIC)) throw new ProtobufError('it does not begin with the bytes "k8s\\0"');
  const envelope = [...fieldsOf(body.subarray(4))];
  const bytes = (number: number) => asBytes(envelope.find((field) => field.number === number)?.value);
  const typeMeta = [...fieldsOf(bytes(1))];
  const text = (number: number) => asBytes(typeMeta.find((field) => field.number === number)?.value).toString();
  const [apiVersion, kind] = [text(1), text(2)];
  const schemaName = schemaNameOf(apiVersion, kind);
  if (schemaName === undefined) {
    // Nothing but its kind is needed of a question without fields.
    if (kind === 'SelfSubjectReview') return { apiVersion, kind };
    throw new ProtobufError(`${kind} in ${apiVersion} is not known in this encoding: send JSON`);
  }
  return { apiVersion, kind, ...decodeMessage(bytes(2), schemaName, definitions()[schemaName] ?? {}, 0) };
}

/** Of a kind with field numbers. */
export function schemaNameOf(apiVersion: string, kind: string): string | undefined {
  if (kind === 'DeleteOptions' || kind === 'Status') return `${META}${kind}`;
  if (names === undefined) {
    names = new Map();
    for (const name of loadTables().keys())
      for (const { group, version, kind: own } of definitions()[name]?.['x-kubernetes-group-version-kind'] ?? [])
        names.set(`${group === '' ? version : `${group}/${version}`} ${own}`, name);
  }
  return names.get(`${apiVersion} ${kind}`);
}

export const isTimeMessage = (name: string): boolean => TIMES.includes(name);
/** JSON inside, whatever it is. */
export const isRawMessage = (name: string): boolean => RAW.includes(name);

export function messageFields(name: string): MessageFields | undefined {
  return loadMessages()[name];
}

function loadMessages(): Record<string, MessageFields> {
  const file = new URL('./protobuf-fields.json', import.meta.url);
  messages ??= JSON.parse(readFileSync(file, 'utf8')) as Record<string, MessageFields>;
  return messages;
}

function loadTables(): Map<string, Map<number, Field>> {
  if (tables !== undefined) return tables;
  tables = new Map();
  for (const [message, fields] of Object.entries(loadMessages())) {
    const table = new Map<number, Field>();
    for (const [name, number] of Object.entries(fields.values ?? {}))
      table.set(number, { name, value: true, inline: undefined });
    for (const [name, number] of Object.entries(fields.pointers ?? {}))
      table.set(number, { name, value: false, inline: undefined });
    for (const [name, number] of Object.entries(fields.inline ?? {}))
      table.set(number, { name: '', value: false, inline: name });
    tables.set(message, table);
  }
  return tables;
}

/** Some kinds hold themselves: schemas do. Deeper ones would exhaust the stack. */
const DEPTH_LIMIT = 100;

function decodeMessage(bytes: Buffer, name: string, schema: Schema, depth: number): Record<string, unknown> {
  if (depth > DEPTH_LIMIT) throw new ProtobufError(`it is nested more than ${DEPTH_LIMIT} levels deep`);
  const table = loadTables().get(name);
  const object: Record<string, unknown> = {};
  for (const { number, value } of fieldsOf(bytes)) {
    const field = table?.get(number);
    if (field === undefined) continue;
    if (field.inline !== undefined) {
      Object.assign(object, decodeMessage(asBytes(value), field.inline, schema, depth + 1));
      continue;
    }
    const reference = schema.properties?.[field.name];
    if (reference === undefined) continue;
    const inner = resolveSchema(reference);
    if (inner.type === 'array') {
      const list = (object[field.name] as unknown[] | undefined) ?? [];
      list.push(decodeValue(value, inner.items ?? {}, depth));
      object[field.name] = list;
    } else if (inner.additionalProperties !== undefined && refName(reference) === undefined) {
      const [key, entry] = decodeEntry(asBytes(value), inner.additionalProperties as Schema, depth);
      const map = (ownField(object, field.name) as object | undefined) ?? {};
      setOwn(map, key, entry);
      object[field.name] = map;
    } else {
      const decoded = decodeValue(value, reference, depth);
      if (!(field.value && isEmpty(decoded))) object[field.name] = decoded;
    }
  }
  return object;
}

function isEmpty(value: unknown): boolean {
  if (typeof value === 'object' && value !== null) return Object.keys(value).length === 0;
  return value === '' || value === 0 || value === false || value === undefined;
}

function decodeEntry(bytes: Buffer, schema: Schema, depth: number): [string, unknown] {
  let key = '';
  let value: unknown;
  for (const field of fieldsOf(bytes)) {
    if (field.number === 1) key = asBytes(field.value).toString();
    if (field.number === 2) value = decodeValue(field.value, schema, depth);
  }
  return [key, value ?? ''];
}

function decodeValue(value: number | Buffer, reference: Schema, depth: number): unknown {
  const name = refName(reference);
  if (name === QUANTITY) return stringIn(asBytes(value));
  if (name === INT_OR_STRING) return decodeIntOrString(asBytes(value));
  if (name !== undefined && isTimeMessage(name)) return decodeTime(asBytes(value), name.endsWith('MicroTime'));
  if (name !== undefined && isRawMessage(name)) return decodeRaw(asBytes(value));
  const schema = resolveSchema(reference);
  if (typeof value === 'number') return schema.type === 'boolean' ? value !== 0 : value;
  if (schema.type === 'string') return schema.format === 'byte' ? value.toString('base64') : value.toString();
  if (schema.type === 'array') return decodeList(value, schema.items ?? {}, depth);
  return decodeMessage(value, name ?? '', schema, depth + 1);
}

/** A list as the value of a map is a message of its own, with one field. */
function decodeList(bytes: Buffer, items: Schema, depth: number): unknown[] {
  return [...fieldsOf(bytes)].map(({ value }) => decodeValue(value, items, depth + 1));
}

function stringIn(bytes: Buffer): string {
  for (const { number, value } of fieldsOf(bytes)) if (number === 1) return asBytes(value).toString();
  return '';
}

function decodeRaw(bytes: Buffer): unknown {
  const text = stringIn(bytes);
  try {
    return text === '' ? {} : JSON.parse(text);
  } catch {
    throw new ProtobufError('an embedded object is not JSON');
  }
}

function decodeIntOrString(bytes: Buffer): number | string {
  let [isText, number, text] = [false, 0, ''];
  for (const field of fieldsOf(bytes)) {
    if (field.number === 1) isText = field.value === 1;
    else if (field.number === 2 && typeof field.value === 'number') number = field.value;
    else if (field.number === 3) text = asBytes(field.value).toString();
  }
  return isText ? text : number;
}

/** Undefined for no time at all. */
function decodeTime(bytes: Buffer, micro: boolean): string | undefined {
  let [seconds, nanos] = [0, 0];
  for (const { number, value } of fieldsOf(bytes)) {
    if (typeof value !== 'number') continue;
    if (number === 1) seconds = value;
    if (number === 2) nanos = value;
  }
  if (seconds === 0 && nanos === 0) return undefined;
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime())) throw new ProtobufError(`${seconds} is no time`);
  const text = date.toISOString().slice(0, 19);
  return micro ? `${text}.${String(Math.floor(nanos / 1000)).padStart(6, '0')}Z` : `${text}Z`;
}

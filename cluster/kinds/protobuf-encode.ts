/**
 * Writes Kubernetes' protobuf encoding; `protobuf.ts` reads it and says what it is. An object's fields are put under their numbers; what has none
 * (a field that the public API types do not know) is left out, as upstream would.
 */
import { ProtobufWriter } from '#lib/protobuf.ts';
import { isRawMessage, isTimeMessage, MAGIC, messageFields, schemaNameOf } from './protobuf.ts';
import { definitions, INT_OR_STRING, QUANTITY, refName, resolveSchema, type Schema } from './schema.ts';

interface Numbers {
  fields: Map<string, number>;
  inline: [name: string, number: number][];
}

const numbers = new Map<string, Numbers>();
const NONE: Numbers = { fields: new Map(), inline: [] };

type JsonObject = Record<string, unknown>;

export function isEncodable(apiVersion: string, kind: string): boolean {
  return schemaNameOf(apiVersion, kind) !== undefined;
}

/** The object's own message, as it is in a list. Undefined for a kind without field numbers. */
export function encodeItem(object: JsonObject): Buffer | undefined {
  const name = schemaNameOf(String(object['apiVersion']), String(object['kind']));
  return name === undefined ? undefined : encodeMessage(object, name, definitions()[name] ?? {}).finish();
}

/** By itself: with the magic and its kind. @param item  as of `encodeItem` */
export function envelope(apiVersion: string, kind: string, item: Buffer): Buffer {
  const typeMeta = new ProtobufWriter().text(1, apiVersion).text(2, kind);
  const out = new ProtobufWriter().bytes(1, typeMeta).bytes(2, item).finish(MAGIC.length);
  MAGIC.copy(out);
  return out;
}

/** @param items  as of `encodeItem` */
export function encodeList(apiVersion: string, kind: string, metadata: JsonObject, items: readonly Buffer[]): Buffer {
  const list = new ProtobufWriter().bytes(1, encodeMessage(metadata, LIST_META, definitions()[LIST_META] ?? {}));
  for (const item of items) list.bytes(2, item);
  return envelope(apiVersion, kind, list.finish());
}

const LIST_META = 'io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta';

/** `WatchEvent` on the wire: its length in four bytes, then the type and the object with its envelope. */
export function encodeWatchEvent(type: string, object: Buffer): Buffer {
  const raw = new ProtobufWriter().bytes(1, object);
  const frame = new ProtobufWriter().text(1, type).bytes(2, raw).finish(LENGTH_BYTES);
  frame.writeUInt32BE(frame.length - LENGTH_BYTES);
  return frame;
}

const LENGTH_BYTES = 4;

function numbersOf(name: string): Numbers {
  let found = numbers.get(name);
  if (found === undefined) {
    const { values, pointers, inline } = messageFields(name) ?? {};
    found = {
      fields: new Map(Object.entries({ ...values, ...pointers })),
      inline: Object.entries(inline ?? {}),
    };
    numbers.set(name, found);
  }
  return found;
}

function encodeMessage(object: JsonObject, name: string, schema: Schema): ProtobufWriter {
  const writer = new ProtobufWriter();
  const { fields, inline } = name === '' ? NONE : numbersOf(name);
  for (const [field, number] of fields) {
    const value = object[field];
    const reference = schema.properties?.[field];
    if (value !== undefined && value !== null && reference !== undefined) writeField(writer, number, value, reference);
  }
  // In JSON its fields are among the object's own.
  for (const [inner, number] of inline) {
    const message = encodeMessage(object, inner, schema);
    if (message.size > 0) writer.bytes(number, message);
  }
  return writer;
}

function writeField(writer: ProtobufWriter, number: number, value: unknown, reference: Schema): void {
  const schema = resolveSchema(reference);
  if (schema.type === 'array') {
    for (const item of value as unknown[]) writeValue(writer, number, item, schema.items ?? {});
  } else if (schema.additionalProperties !== undefined && refName(reference) === undefined) {
    for (const [key, entry] of Object.entries(value as JsonObject)) {
      const pair = new ProtobufWriter().text(1, key);
      writeValue(pair, 2, entry, schema.additionalProperties as Schema);
      writer.bytes(number, pair);
    }
  } else writeValue(writer, number, value, reference);
}

function writeValue(writer: ProtobufWriter, number: number, value: unknown, reference: Schema): void {
  const name = refName(reference) ?? '';
  const schema = resolveSchema(reference);
  if (name === QUANTITY) writer.bytes(number, new ProtobufWriter().text(1, String(value)));
  else if (name === INT_OR_STRING) writer.bytes(number, intOrString(value));
  else if (isTimeMessage(name)) writer.bytes(number, time(String(value)));
  else if (isRawMessage(name)) writer.bytes(number, new ProtobufWriter().text(1, JSON.stringify(value)));
  else if (typeof value === 'boolean') writer.int(number, value ? 1 : 0);
  else if (typeof value === 'number') writer.int(number, value);
  else if (typeof value === 'string')
    writer.bytes(number, Buffer.from(value, schema.format === 'byte' ? 'base64' : 'utf8'));
  else if (Array.isArray(value)) writer.bytes(number, listOf(value, schema.items ?? {}));
  else writer.bytes(number, encodeMessage(value as JsonObject, name, schema));
}

/** A list as the value of a map is a message of its own, with one field. */
function listOf(values: unknown[], items: Schema): ProtobufWriter {
  const list = new ProtobufWriter();
  for (const value of values) writeValue(list, 1, value, items);
  return list;
}

function intOrString(value: unknown): ProtobufWriter {
  if (typeof value === 'number') return new ProtobufWriter().int(1, 0).int(2, value);
  return new ProtobufWriter().int(1, 1).text(3, String(value));
}

function time(text: string): ProtobufWriter {
  const seconds = Math.floor(Date.parse(text) / 1000);
  const fraction = /\.(\d{1,9})/.exec(text)?.[1] ?? '';
  const writer = new ProtobufWriter().int(1, Number.isNaN(seconds) ? 0 : seconds);
  return fraction === '' ? writer : writer.int(2, Number(fraction.padEnd(9, '0')));
}

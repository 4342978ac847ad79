/**
 * OpenAPI v2 in the protobuf form of the gnostic model, the only one that kubectl up to 1.28 reads. Field numbers are those
 * of its OpenAPIv2.proto; what Kubernetes' documents do not use is left out.
 */
import type { Schema } from '../kinds/schema.ts';

interface Operation {
  operationId: string;
  parameters: { name: string; in: string; required?: boolean; schema?: Schema; type?: string; uniqueItems?: boolean }[];
  responses: Record<string, { description: string; schema: Schema }>;
  [extension: `x-${string}`]: unknown;
}

export interface Document2 {
  swagger: string;
  info: { title: string; version: string };
  paths: Record<string, Record<string, Operation>>;
  definitions: Record<string, Schema>;
}

const METHODS: Record<string, number> = { get: 2, put: 3, post: 4, delete: 5, patch: 8 };

export function encodeDocument({ swagger, info, paths, definitions }: Document2): Buffer {
  const items = Object.entries(paths).map(([path, operations]) => {
    const fields = Object.entries(operations).map(([method, operation]) =>
      message(METHODS[method] ?? 0, encodeOperation(operation)),
    );
    return message(2, named(path, Buffer.concat(fields)));
  });
  return Buffer.concat([
    text(1, swagger),
    message(2, Buffer.concat([text(1, info.title), text(2, info.version)])),
    message(8, Buffer.concat(items)),
    message(9, encodeProperties(definitions)),
  ]);
}

function encodeOperation(operation: Operation): Buffer {
  const parameters = operation.parameters.map((parameter) => {
    const body = parameter.schema;
    const encoded =
      body === undefined
        ? // Non-body, then query.
          message(2, message(3, encodeQueryParameter(parameter)))
        : message(
            1,
            Buffer.concat([
              text(2, parameter.name),
              text(3, parameter.in),
              flag(4, true),
              message(5, encodeSchema(body)),
            ]),
          );
    return message(8, message(1, encoded));
  });
  const responses = Object.entries(operation.responses).map(([code, { description, schema }]) => {
    const response = Buffer.concat([text(1, description), message(2, message(1, encodeSchema(schema)))]);
    return message(1, named(code, message(1, response)));
  });
  return Buffer.concat([
    text(5, operation.operationId),
    ...parameters,
    message(9, Buffer.concat(responses)),
    ...extensions(13, operation),
  ]);
}

function encodeQueryParameter({ name, type = 'string' }: { name: string; type?: string }): Buffer {
  return Buffer.concat([text(2, 'query'), text(4, name), text(6, type), flag(20, true)]);
}

function encodeSchema(schema: Schema): Buffer {
  const parts: Buffer[] = [];
  if (schema.$ref !== undefined) parts.push(text(1, schema.$ref));
  if (schema.format !== undefined) parts.push(text(2, schema.format));
  if (schema.description !== undefined) parts.push(text(4, schema.description));
  for (const name of schema.required ?? []) parts.push(text(19, name));
  if (typeof schema.additionalProperties === 'object')
    parts.push(message(21, message(1, encodeSchema(schema.additionalProperties))));
  if (schema.type !== undefined) parts.push(message(22, text(1, schema.type)));
  if (schema.items !== undefined) parts.push(message(23, message(1, encodeSchema(schema.items))));
  if (schema.properties !== undefined) parts.push(message(25, encodeProperties(schema.properties)));
  return Buffer.concat([...parts, ...extensions(31, schema)]);
}

function encodeProperties(schemas: Record<string, Schema>): Buffer {
  return Buffer.concat(Object.entries(schemas).map(([name, schema]) => message(1, named(name, encodeSchema(schema)))));
}

/** Their values are YAML, of which JSON is a part. */
function extensions(number: number, object: object): Buffer[] {
  return Object.entries(object)
    .filter(([name]) => name.startsWith('x-'))
    .map(([name, value]) => message(number, named(name, text(2, JSON.stringify(value)))));
}

function named(name: string, value: Buffer): Buffer {
  return Buffer.concat([text(1, name), message(2, value)]);
}

function text(number: number, value: string): Buffer {
  return message(number, Buffer.from(value));
}

function flag(number: number, value: boolean): Buffer {
  return Buffer.concat([varint(number * 8), varint(value ? 1 : 0)]);
}

function message(number: number, bytes: Buffer): Buffer {
  return Buffer.concat([varint(number * 8 + 2), varint(bytes.length), bytes]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 127) {
    bytes.push((rest % 128) + 128);
    rest = Math.floor(rest / 128);
  }
  return Buffer.from([...bytes, rest]);
}

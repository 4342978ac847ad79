/** Request bodies: JSON, YAML or protobuf, with what strict clients want to know about them. */
import { ProtobufError } from '#lib/protobuf.ts';
import { parseYamlText, YamlError } from '#lib/yaml/yaml.ts';
import { decodeObject } from '../kinds/decode.ts';
import { definitions } from '../kinds/schema.ts';
import { badRequest, StatusError } from './errors.ts';
import { type Exchange, header } from './exchange.ts';
import { checkDepth, countKeys, duplicateKeys, keysOf } from './json-check.ts';
import { PROTOBUF } from './negotiate.ts';

export const APPLY_PATCH = 'application/apply-patch+yaml';

/** Told of each thing that a strict reading refuses: `duplicate field "spec.replicas"`. */
export type OnDoubt = (text: string) => void;

const unheard: OnDoubt = () => undefined;

/** The body as an object. Throws 400 that says where it is malformed, 415 for an encoding that is not known. */
export async function readObject(exchange: Exchange, doubt: OnDoubt = unheard): Promise<Record<string, unknown>> {
  const body = await exchange.body();
  switch (mediaType(exchange)) {
    case '':
    case 'application/json':
      return objectIn(parseJson(body, doubt));
    case 'application/yaml':
      return objectIn(await parseYaml(body, doubt));
    case PROTOBUF:
      return parseProtobuf(body);
    default:
      throw unknownFormat(['application/json', 'application/yaml', PROTOBUF]);
  }
}

/** The body of a request that makes no object: as its schema says, so that a null is an absent field. */
export async function readDecoded(exchange: Exchange, schemaName: string): Promise<Record<string, unknown>> {
  const body = await readObject(exchange);
  const { wrongTypes } = decodeObject(body, definitions()[schemaName] ?? {});
  if (wrongTypes.length > 0) throw badRequest(wrongTypes.join('; '));
  return body;
}

/** The body in whatever encoding it is in, or nothing when there is none. */
export async function readOptional(exchange: Exchange): Promise<Record<string, unknown>> {
  const body = await exchange.body();
  if (body.length === 0) return {};
  return mediaType(exchange) === PROTOBUF ? parseProtobuf(body) : objectIn(await parseYaml(body));
}

export function mediaType(exchange: Exchange): string {
  return (header(exchange, 'content-type').split(';')[0] ?? '').trim().toLowerCase();
}

export function unknownFormat(accepted: string[]): StatusError {
  return new StatusError(
    415,
    'UnsupportedMediaType',
    `the body of the request was in an unknown format - accepted media types include: ${accepted.join(', ')}`,
  );
}

async function parseProtobuf(body: Buffer): Promise<Record<string, unknown>> {
  const { decodeProtobuf } = await import('../kinds/protobuf.ts');
  try {
    const object = decodeProtobuf(body);
    // There may be JSON in it.
    checkDepth(object);
    return object;
  } catch (cause) {
    if (cause instanceof ProtobufError) throw badRequest(`the request body cannot be read: ${cause.message}`);
    throw cause;
  }
}

export function parseJson(body: Buffer, doubt: OnDoubt = unheard): unknown {
  const keys = countKeys(body);
  const text = body.toString();
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw badRequest(`the request body is not valid JSON: ${(cause as Error).message}`);
  }
  if (keys !== keysOf(value)) for (const path of duplicateKeys(text)) doubt(`duplicate field ${JSON.stringify(path)}`);
  return value;
}

/** YAML, of which JSON is a part: tried first, since it is much faster. */
export async function parseYaml(body: Buffer, doubt: OnDoubt = unheard): Promise<unknown> {
  const text = body.toString();
  if (/^\s*[{[]/.test(text)) {
    try {
      return parseJson(body, doubt);
    } catch {
      // Falls through: flow style that is no JSON, or an error that YAML words better.
    }
  }
  try {
    const { value, doubts } = await parseYamlText(text);
    checkDepth(value);
    for (const { line, key } of doubts) doubt(`line ${line}: key ${JSON.stringify(key)} already set in map`);
    return value;
  } catch (cause) {
    if (!(cause instanceof YamlError)) throw cause;
    throw badRequest(`the request body is not valid YAML: ${cause.message}`);
  }
}

export function objectIn(value: unknown): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw badRequest('the request body must be an object');
}

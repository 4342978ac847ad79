/**
 * How objects lie in the store, and how their bytes are served.
 *
 * A stored value is the object's JSON without `metadata.resourceVersion`, which is the store's revision and is not known
 * before the write. It begins `{"apiVersion":"…","kind":"…","metadata":{`, so the served bytes are made by one copy:
 * head, `"resourceVersion":"N",`, rest. They are made once for each revision.
 */
import type { ApiObject } from '../kinds/kind.ts';

const METADATA = Buffer.from('"metadata":{');

/** `metadata` is never empty: an object always has a name. */
export function storedBytes(object: ApiObject): Buffer {
  const { apiVersion, kind, metadata, ...rest } = object;
  const { resourceVersion: _revision, ...kept } = metadata;
  return Buffer.from(JSON.stringify({ apiVersion, kind, metadata: kept, ...rest }));
}

/** What clients see of a stored value. */
export function servedBytes(value: Uint8Array, revision: number): Buffer {
  const buffer = asBuffer(value);
  const at = buffer.indexOf(METADATA) + METADATA.length;
  return Buffer.concat([buffer.subarray(0, at), Buffer.from(`"resourceVersion":"${revision}",`), buffer.subarray(at)]);
}

/** The same object under another version of its API, whose fields do not differ. */
export function underVersion(bytes: Buffer, apiVersion: string): Buffer {
  const at = bytes.indexOf(',"kind":');
  const head = `{"apiVersion":${JSON.stringify(apiVersion)}`;
  return bytes.toString('latin1', 0, at) === head ? bytes : Buffer.concat([Buffer.from(head), bytes.subarray(at)]);
}

export function parseObject(bytes: Uint8Array): ApiObject {
  return JSON.parse(asBuffer(bytes).toString()) as ApiObject;
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Served objects in protobuf: made from their JSON when somebody asks, once for each revision. */
import { encodeItem, encodeList, encodeWatchEvent, envelope } from '../kinds/protobuf-encode.ts';
import { parseObject } from './object-bytes.ts';

/** By the JSON, which the cache keeps for as long as the object is what it is. */
const items = new WeakMap<Buffer, Buffer>();

/** @param json  of a kind that `isEncodable` */
function itemOf(json: Buffer): Buffer {
  let item = items.get(json);
  if (item === undefined) {
    item = encodeItem({ ...parseObject(json) }) ?? Buffer.alloc(0);
    items.set(json, item);
  }
  return item;
}

export interface ShownKind {
  apiVersion: string;
  kind: string;
}

export function objectInProtobuf({ apiVersion, kind }: ShownKind, json: Buffer): Buffer {
  return envelope(apiVersion, kind, itemOf(json));
}

export function listInProtobuf({ apiVersion, kind }: ShownKind, metadata: object, items: readonly Buffer[]): Buffer {
  return encodeList(apiVersion, kind, { ...metadata }, items.map(itemOf));
}

export function eventInProtobuf(shown: ShownKind, type: string, json: Buffer): Buffer {
  return encodeWatchEvent(type, objectInProtobuf(shown, json));
}

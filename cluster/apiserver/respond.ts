/** One object as an answer, in the form that the client asked for. */
import type { KindDefinition } from '../kinds/kind.ts';
import { isEncodable } from '../kinds/protobuf-encode.ts';
import type { Core } from './core.ts';
import { type Exchange, send, sendJson } from './exchange.ts';
import { readIncludeObject } from './list.ts';
import { negotiate, PROTOBUF } from './negotiate.ts';
import { parseObject } from './object-bytes.ts';
import { objectInProtobuf } from './protobuf-bytes.ts';
import { shownBytes } from './stored-form.ts';
import { partialMetadata, table, tableRow } from './views.ts';

export function respondObject(core: Core, exchange: Exchange, kind: KindDefinition, bytes: Buffer, status = 200): void {
  const view = negotiate(exchange, kind, false);
  if (view.as === 'object') return sendObject(exchange, status, shownBytes(kind, bytes), view.protobuf === true);
  const object = parseObject(bytes);
  const { apiVersion } = view;
  if (view.as === 'metadata') return sendJson(exchange, status, partialMetadata(object, apiVersion));
  const includeObject = readIncludeObject(exchange.query);
  const row = tableRow(kind, object, { apiVersion, includeObject }, core.now());
  sendJson(exchange, status, table(kind, [row], { resourceVersion: object.metadata.resourceVersion }, apiVersion));
}

/** An answer may be of another kind than what was asked for. */
function sendObject(exchange: Exchange, status: number, shown: Buffer, protobuf: boolean): void {
  if (!protobuf) return send(exchange, status, shown);
  const { apiVersion = '', kind = '' } = parseObject(shown);
  if (!isEncodable(apiVersion, kind)) return send(exchange, status, shown);
  send(exchange, status, objectInProtobuf({ apiVersion, kind }, shown), PROTOBUF);
}

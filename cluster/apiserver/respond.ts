/** One object as an answer, in the form that the client asked for. */
import type { KindDefinition } from '../kinds/kind.ts';
import { isEncodable } from '../kinds/protobuf-encode.ts';
import { bytesIn } from './conversion.ts';
import type { Core } from './core.ts';
import { type Exchange, send, sendJson } from './exchange.ts';
import { readIncludeObject } from './list.ts';
import { negotiate, PROTOBUF } from './negotiate.ts';
import { parseObject } from './object-bytes.ts';
import { objectInProtobuf } from './protobuf-bytes.ts';
import { partialMetadata, table, tableRow } from './views.ts';

export async function respondObject(
  core: Core,
  exchange: Exchange,
  kind: KindDefinition,
  bytes: Buffer,
  status = 200,
): Promise<void> {
  const view = negotiate(exchange, kind, false);
  const shown =
    view.as === 'object' || kind.conversion !== undefined ? ((await bytesIn(core, kind, [bytes]))[0] ?? bytes) : bytes;
  if (view.as === 'object') return sendObject(exchange, status, shown, view.protobuf === true);
  const object = parseObject(shown);
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

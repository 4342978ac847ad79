/** One object as an answer, in the form that the client asked for. */
import type { KindDefinition } from '../kinds/kind.ts';
import type { Core } from './core.ts';
import { type Exchange, send, sendJson } from './exchange.ts';
import { readIncludeObject } from './list.ts';
import { negotiate } from './negotiate.ts';
import { parseObject } from './object-bytes.ts';
import { shownBytes } from './stored-form.ts';
import { partialMetadata, table, tableRow } from './views.ts';

export function respondObject(core: Core, exchange: Exchange, kind: KindDefinition, bytes: Buffer, status = 200): void {
  const view = negotiate(exchange, false);
  if (view.as === 'object') return send(exchange, status, shownBytes(kind, bytes));
  const object = parseObject(bytes);
  const { apiVersion } = view;
  if (view.as === 'metadata') return sendJson(exchange, status, partialMetadata(object, apiVersion));
  const includeObject = readIncludeObject(exchange.query);
  const row = tableRow(kind, object, { apiVersion, includeObject }, core.now());
  sendJson(exchange, status, table(kind, [row], { resourceVersion: object.metadata.resourceVersion }, apiVersion));
}

/** Watches a request go by, and notes it (audit.k8s.io/v1, "Event"). */
import { randomUUID } from 'node:crypto';
import { type Exchange, header, type Responder, type User } from '../exchange.ts';
import { parseResourcePath, type ResourceRequest } from '../route.ts';
import type { AuditLog } from './log.ts';
import { type AuditDecision, type AuditPolicy, type AuditStage, decide } from './policy.ts';

export interface Audit {
  policy: AuditPolicy;
  log: AuditLog;
}

/** Bodies above this are noted as absent: an event is a line, not a backup. */
const BODY_LIMIT = 256 * 1024;

/** The exchange to go on with; the same one when nothing is noted of it. */
export function observe({ policy, log }: Audit, exchange: Exchange): Exchange {
  const request = requestOf(exchange);
  const verb = request?.verb ?? exchange.method.toLowerCase();
  const decision = decide(policy, {
    user: exchange.user,
    verb,
    path: exchange.path,
    ...(request === undefined ? {} : { resource: request }),
  });
  if (decision.level === 'None') return exchange;
  const event = eventOf(exchange, request, verb, decision);
  const note = (stage: AuditStage, more: object = {}) => {
    if (decision.omitStages.includes(stage)) return;
    log.write({ ...event, stage, ...more, stageTimestamp: new Date().toISOString() });
  };
  note('RequestReceived');
  const annotations = new Map<string, string>();
  const observed: Exchange = { ...exchange, annotations };
  let sent: Buffer | undefined;
  if (decision.level !== 'Metadata')
    observed.body = async () => {
      sent = await exchange.body();
      return sent;
    };
  observed.responder = observedResponder(exchange.responder, {
    keepBody: decision.level === 'RequestResponse' && verb !== 'watch',
    started: (code) => {
      if (verb === 'watch') note('ResponseStarted', { responseStatus: { metadata: {}, code } });
    },
    ended: (code, body) => {
      note('ResponseComplete', {
        responseStatus: statusOf(code, body),
        ...objectIn('requestObject', sent, decision),
        ...(decision.level === 'RequestResponse' ? objectIn('responseObject', body, decision) : {}),
        ...(annotations.size === 0 ? {} : { annotations: Object.fromEntries(annotations) }),
      });
    },
  });
  return observed;
}

function requestOf({ method, path, query }: Exchange): ResourceRequest | undefined {
  try {
    const request = parseResourcePath(method, path, query);
    return request?.resource === '' ? undefined : request;
  } catch {
    // An unknown method: the handler will say so.
    return undefined;
  }
}

function eventOf(
  exchange: Exchange,
  request: ResourceRequest | undefined,
  verb: string,
  { level }: AuditDecision,
): object {
  const query = exchange.query.toString();
  return {
    kind: 'Event',
    apiVersion: 'audit.k8s.io/v1',
    level,
    auditID: exchange.auditId ?? randomUUID(),
    requestURI: query === '' ? exchange.path : `${exchange.path}?${query}`,
    verb,
    user: userOf(exchange.impersonator ?? exchange.user),
    ...(exchange.impersonator === undefined ? {} : { impersonatedUser: userOf(exchange.user) }),
    ...(exchange.sourceAddress === undefined ? {} : { sourceIPs: [exchange.sourceAddress] }),
    userAgent: header(exchange, 'user-agent'),
    ...(request === undefined ? {} : { objectRef: objectRefOf(request) }),
    requestReceivedTimestamp: new Date().toISOString(),
  };
}

function userOf({ name, uid, groups, extra }: User): object {
  return {
    username: name,
    ...(uid === undefined ? {} : { uid }),
    groups,
    ...(extra === undefined ? {} : { extra }),
  };
}

function objectRefOf({ resource, namespace, name, group, version, subresource }: ResourceRequest): object {
  const all = { resource, namespace, name, apiGroup: group, apiVersion: version, subresource };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== ''));
}

function statusOf(code: number, body: Buffer | undefined): object {
  const status =
    code >= 400 ? (parse(body) as { status?: string; reason?: string; message?: string } | undefined) : undefined;
  const { status: text, reason, message } = status ?? {};
  return { metadata: {}, ...(text === undefined ? {} : { status: text, reason, message }), code };
}

function objectIn(name: string, body: Buffer | undefined, { omitManagedFields }: AuditDecision): object {
  const object = parse(body);
  if (object === undefined) return {};
  const metadata = (object as { metadata?: { managedFields?: unknown } }).metadata;
  if (omitManagedFields && metadata !== undefined && metadata !== null) delete metadata.managedFields;
  return { [name]: object };
}

function parse(body: Buffer | undefined): object | undefined {
  if (body === undefined || body.length === 0 || body.length > BODY_LIMIT) return undefined;
  try {
    const value: unknown = JSON.parse(body.toString());
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

interface Observer {
  keepBody: boolean;
  started(code: number): void;
  /** Once. The body where it was kept, or that of an error. */
  ended(code: number, body: Buffer | undefined): void;
}

function observedResponder(responder: Responder, observer: Observer): Responder {
  let [code, size, done] = [0, 0, false];
  const chunks: Uint8Array[] = [];
  const keep = (chunk: Uint8Array | undefined) => {
    if (chunk === undefined || !(observer.keepBody || code >= 400) || size > BODY_LIMIT) return;
    size += chunk.length;
    chunks.push(chunk);
  };
  const end = () => {
    if (done) return;
    done = true;
    observer.ended(code, size === 0 || size > BODY_LIMIT ? undefined : Buffer.concat(chunks));
  };
  // A client that went away in the middle has been answered as far as it goes.
  responder.onClose(end);
  return {
    head(status, headers) {
      code = status;
      responder.head(status, headers);
      observer.started(status);
    },
    write(chunk) {
      keep(chunk);
      return responder.write(chunk);
    },
    end(chunk) {
      keep(chunk);
      responder.end(chunk);
      end();
    },
    destroy: () => responder.destroy(),
    readWithin: (milliseconds) => responder.readWithin?.(milliseconds),
    onDrain: (listener) => responder.onDrain(listener),
    onClose: (listener) => responder.onClose(listener),
    get started() {
      return responder.started;
    },
  };
}

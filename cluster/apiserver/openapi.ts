/**
 * OpenAPI v3, one document for each group and version, and v2, made from the field schemas when a client asks.
 * kubectl reads from them what it explains, and whether a write can be tried (`dryRun`) and checked (`fieldValidation`).
 */
import { createHash } from 'node:crypto';
import type { KindDefinition } from '../kinds/kind.ts';
import { definitions, type Schema } from '../kinds/schema.ts';
import { aggregateDocument } from './aggregation/hand-on.ts';
import type { Core } from './core.ts';
import { noSuchPath, StatusError } from './errors.ts';
import { type Exchange, header, send, sendJson } from './exchange.ts';
import { publishedSchema } from './openapi-custom.ts';
import { type Document2, encodeDocument } from './openapi-protobuf.ts';
import { explained } from './openapi-words.ts';
import { apiVersionOf } from './registry.ts';

const META = 'io.k8s.apimachinery.pkg.apis.meta.v1.';
const PROTOBUF = /application\/com\.github\.proto-openapi\.spec\.v2[@.]v1\.0\+protobuf/;
const WRITE_PARAMETERS = ['dryRun', 'fieldManager', 'fieldValidation'];

/** Made once for each set of kinds that is served; several hundred kilobytes each. */
interface Documents {
  generation: string;
  made: Map<string, { body: Buffer; hash: string }>;
}

const documents = new WeakMap<Core, Documents>();
const V2 = 'application/com.github.proto-openapi.spec.v2.v1.0+protobuf';

export async function openApi(core: Core, exchange: Exchange, path: string): Promise<void> {
  const kinds = groupByVersion(core);
  if (path === '/openapi/v2') {
    const accept = header(exchange, 'accept');
    if (accept === '' || /application\/json|\*\/\*|application\/\*/.test(accept))
      return answer(core, exchange, 'v2', () => Buffer.from(JSON.stringify(wholeDocument2(core))));
    if (!PROTOBUF.test(accept))
      throw new StatusError(406, 'NotAcceptable', 'only the following media types are accepted: application/json');
    // The name that clients ask by has an @, which no content type may have.
    return answer(core, exchange, 'v2 protobuf', () => encodeDocument(wholeDocument2(core)), V2);
  }
  if (path === '/openapi/v3') {
    const paths: Record<string, object> = {};
    for (const [apiVersion, members] of kinds) {
      const key = apiVersion.includes('/') ? `apis/${apiVersion}` : `api/${apiVersion}`;
      const { hash } = document(core, apiVersion, () => Buffer.from(document3(members)));
      paths[key] = { serverRelativeURL: `/openapi/v3/${key}?hash=${hash}` };
    }
    for (const { group, version, told } of core.aggregation.all()) {
      const key = `apis/${group}/${version}`;
      delete paths[key];
      if (told.openApi3 !== undefined) paths[key] = { serverRelativeURL: `/openapi/v3/${key}?hash=${told.openApi3}` };
    }
    return sendJson(exchange, 200, { paths });
  }
  const match = /^\/openapi\/v3\/(?:api\/(v\d+)|apis\/([^/]+\/[^/]+))$/.exec(path);
  const key = match?.[1] ?? match?.[2] ?? '';
  const remote = core.aggregation.find(...(key.split('/') as [string, string]));
  if (remote !== undefined) return aggregateDocument(core, exchange, remote);
  const members = kinds.get(key);
  if (members === undefined) throw noSuchPath();
  answer(core, exchange, key, () => Buffer.from(document3(members)));
}

function document(core: Core, key: string, make: () => Buffer): { body: Buffer; hash: string } {
  let all = documents.get(core);
  const generation = `${core.registry.generation} ${core.aggregation.generation}`;
  if (all?.generation !== generation) {
    all = { generation, made: new Map() };
    documents.set(core, all);
  }
  let found = all.made.get(key);
  if (found === undefined) {
    const body = make();
    found = { body, hash: createHash('sha512').update(body).digest('hex').toUpperCase() };
    all.made.set(key, found);
  }
  return found;
}

/** With an etag, and kept by the client for good when it asked for this very hash. */
function answer(core: Core, exchange: Exchange, key: string, make: () => Buffer, type?: string): void {
  const { body, hash } = document(core, key, make);
  const etag = `"${hash}"`;
  const asked = exchange.query.get('hash');
  if (asked !== null && asked !== hash) {
    exchange.responder.head(301, { location: `${exchange.path}?hash=${hash}`, 'content-length': '0' });
    return exchange.responder.end();
  }
  const caching = asked === null ? 'no-cache, private' : 'public, immutable, max-age=31536000';
  exchange.answerHeaders = { etag, vary: 'Accept', 'cache-control': caching };
  if (header(exchange, 'if-none-match').includes(etag)) {
    exchange.responder.head(304, exchange.answerHeaders);
    return exchange.responder.end();
  }
  send(exchange, 200, body, type);
}

function groupByVersion(core: Core): Map<string, KindDefinition[]> {
  const groups = new Map<string, KindDefinition[]>();
  for (const kind of core.registry.all()) {
    const key = apiVersionOf(kind);
    groups.set(key, [...(groups.get(key) ?? []), kind]);
  }
  return groups;
}

function schemaName(kind: KindDefinition): string {
  return kind.schemaName ?? `${kind.group.split('.').reverse().join('.')}.${kind.version}.${kind.kind}`;
}

/** What the kinds' schemas lead to. */
function reachable(kinds: KindDefinition[], version: 2 | 3): Record<string, Schema> {
  const all = definitions();
  const found: Record<string, Schema> = {};
  const visit = (name: string, schema: Schema | undefined) => {
    if (schema === undefined || found[name] !== undefined) return;
    found[name] = explained(name, schema);
    for (const [, inner] of JSON.stringify(schema).matchAll(/"#\/definitions\/([^"]+)"/g))
      visit(inner ?? '', all[inner ?? '']);
  };
  for (const kind of kinds)
    visit(schemaName(kind), kind.schema === undefined ? all[schemaName(kind)] : publishedSchema(kind, version));
  for (const name of ['DeleteOptions', 'Status', 'WatchEvent']) visit(META + name, all[META + name]);
  return found;
}

function pathsOf(kind: KindDefinition): string[] {
  const root = kind.group === '' ? `/api/${kind.version}` : `/apis/${kind.group}/${kind.version}`;
  const base = kind.namespaced ? `${root}/namespaces/{namespace}/${kind.resource}` : `${root}/${kind.resource}`;
  return [base, `${base}/{name}`];
}

function gvk(kind: KindDefinition): object {
  return { group: kind.group, kind: kind.kind, version: kind.version };
}

function document3(kinds: KindDefinition[]): string {
  const paths: Record<string, object> = {};
  const parameter = (name: string) => ({ name, in: 'query', schema: { type: 'string', uniqueItems: true } });
  for (const kind of kinds) {
    const [collection = '', item = ''] = pathsOf(kind);
    const body = { content: { 'application/json': { schema: { $ref: `#/definitions/${schemaName(kind)}` } } } };
    const operation = (action: string, write: boolean) => ({
      tags: [kind.group === '' ? 'core' : kind.group],
      operationId: `${action}${kind.kind}`,
      ...(write
        ? {
            parameters: [...WRITE_PARAMETERS, ...(action === 'patch' ? ['force'] : [])].map(parameter),
            requestBody: body,
          }
        : {}),
      responses: { 200: { description: 'OK', ...body } },
      'x-kubernetes-action': action,
      'x-kubernetes-group-version-kind': gvk(kind),
    });
    paths[collection] = {
      get: operation('list', false),
      post: operation('post', true),
      delete: operation('deletecollection', false),
    };
    paths[item] = {
      get: operation('get', false),
      put: operation('put', true),
      patch: operation('patch', true),
      delete: operation('delete', false),
    };
  }
  const document = {
    openapi: '3.0.0',
    info: { title: 'Kubernetes', version: 'v1.30.0' },
    paths,
    components: { schemas: reachable(kinds, 3) },
  };
  return JSON.stringify(document).replaceAll('"#/definitions/', '"#/components/schemas/');
}

/** With the servers behind; where two mean something else by one name, what is served here counts. */
function wholeDocument2(core: Core): Document2 {
  const document = document2(core.registry.all());
  for (const { group, version, told } of core.aggregation.all()) {
    const prefix = `/apis/${group}/${version}/`;
    const { definitions: theirs = {}, paths = {} } = told.openApi2 ?? {};
    for (const path of Object.keys(document.paths)) if (path.startsWith(prefix)) delete document.paths[path];
    for (const [path, item] of Object.entries(paths))
      if (path.startsWith(prefix)) document.paths[path] = operationsOf(item);
    document.definitions = { ...(theirs as Document2['definitions']), ...document.definitions };
  }
  return document;
}

/** Of another's path what our form of the document holds. */
function operationsOf(item: unknown): Document2['paths'][string] {
  const operations = Object.entries((item ?? {}) as Record<string, Record<string, unknown> | undefined>);
  return Object.fromEntries(
    operations
      .filter(([method]) => ['get', 'put', 'post', 'patch', 'delete'].includes(method))
      .map(([method, operation]) => [
        method,
        {
          operationId: String(operation?.['operationId'] ?? ''),
          parameters: [],
          responses: {},
          'x-kubernetes-action': operation?.['x-kubernetes-action'],
          'x-kubernetes-group-version-kind': operation?.['x-kubernetes-group-version-kind'],
        },
      ]),
  );
}

function document2(kinds: KindDefinition[]): Document2 {
  const paths: Document2['paths'] = {};
  const parameter = (name: string) => ({ name, in: 'query', type: 'string', uniqueItems: true });
  for (const kind of kinds) {
    const [collection = '', item = ''] = pathsOf(kind);
    const schema = { $ref: `#/definitions/${schemaName(kind)}` };
    const operation = (action: string, write: boolean) => ({
      operationId: `${action}${kind.kind}`,
      parameters: write
        ? [{ name: 'body', in: 'body', required: true, schema }, ...WRITE_PARAMETERS.map(parameter)]
        : [],
      responses: { 200: { description: 'OK', schema } },
      'x-kubernetes-action': action,
      'x-kubernetes-group-version-kind': gvk(kind),
    });
    paths[collection] = { get: operation('list', false), post: operation('post', true) };
    paths[item] = { get: operation('get', false), put: operation('put', true), patch: operation('patch', true) };
  }
  return { swagger: '2.0', info: { title: 'Kubernetes', version: 'v1.30.0' }, paths, definitions: reachable(kinds, 2) };
}

/**
 * Whole requests to a whole API server, made from bytes: `METHOD TARGET`, a line for each of a few headers, an empty line, the body.
 * Each is answered, with a Status where it is refused, and never by an error of the server's own.
 */
import assert from 'node:assert/strict';
import type { Transport } from '#cluster/client/transport.ts';
import { readAll } from '#cluster/client/json-lines.ts';
import { encodeItem, envelope } from '#cluster/kinds/protobuf-encode.ts';
import type { Fuzz } from './fuzz.ts';

/** More would write to the store, at the pace of its disk. */
const DRY = 'dryRun=All';
const HEADERS = ['accept', 'content-type', 'if-none-match'];
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];

const container = { name: 'main', image: 'a:1', resources: { requests: { cpu: '100m' } } };
const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'there' }, spec: { containers: [container] } };
const map = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'there', labels: { a: 'b' } }, data: { a: '1' } };
const deployment = {
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'there' },
  spec: {
    selector: { matchLabels: { a: 'b' } },
    template: { metadata: { labels: { a: 'b' } }, spec: { containers: [container] } },
  },
};
const definition = {
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: 'things.example.com' },
  spec: {
    group: 'example.com',
    scope: 'Namespaced',
    names: { plural: 'things', kind: 'Thing' },
    versions: [
      {
        name: 'v1',
        served: true,
        storage: true,
        schema: {
          openAPIV3Schema: {
            type: 'object',
            properties: {
              spec: {
                type: 'object',
                'x-kubernetes-validations': [{ rule: 'self.size < 5' }],
                properties: { size: { type: 'integer' } },
              },
            },
          },
        },
        additionalPrinterColumns: [{ name: 'Size', type: 'integer', jsonPath: '.spec.size' }],
      },
    ],
  },
};

function request(
  method: string,
  target: string,
  body: string | Buffer = '',
  type = 'application/json',
  accept = '',
): Buffer {
  return Buffer.concat([
    Buffer.from(`${method} ${target}\ncontent-type: ${type}\naccept: ${accept}\n\n`),
    Buffer.from(body),
  ]);
}

const NAMESPACE = '/api/v1/namespaces/default';
const STRATEGIC = 'application/strategic-merge-patch+json';
const APPLY = 'application/apply-patch+yaml';

/** There before the first request. */
export const API_REQUEST_OBJECTS = [
  [`${NAMESPACE}/pods`, pod],
  [`${NAMESPACE}/configmaps`, map],
  ['/apis/apps/v1/namespaces/default/deployments', deployment],
] as const;

const corpus = [
  request('GET', `${NAMESPACE}/pods?labelSelector=a%3Db&limit=1`),
  request(
    'GET',
    '/api/v1/pods?watch=1&resourceVersion=1&timeoutSeconds=1',
    '',
    '',
    'application/json;as=Table;g=meta.k8s.io;v=v1',
  ),
  request('GET', '/apis/apps/v1/deployments/', '', '', 'application/vnd.kubernetes.protobuf'),
  request('GET', `${NAMESPACE}/configmaps/there?pretty=1`, '', '', 'application/yaml'),
  request('GET', '/apis', '', '', 'application/json;as=APIGroupDiscoveryList;v=v2;g=apidiscovery.k8s.io'),
  request('GET', '/openapi/v3/apis/batch/v1'),
  request(
    'POST',
    `${NAMESPACE}/pods?fieldValidation=Strict`,
    JSON.stringify({ ...pod, metadata: { generateName: 'p-' } }),
  ),
  request(
    'POST',
    `${NAMESPACE}/pods`,
    envelope('v1', 'Pod', encodeItem(pod) ?? Buffer.alloc(0)),
    'application/vnd.kubernetes.protobuf',
  ),
  request('POST', `${NAMESPACE}/configmaps`, 'metadata: {name: x}\ndata:\n  a: |\n    b\n', 'application/yaml'),
  request('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', JSON.stringify(definition)),
  request(
    'POST',
    '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
    JSON.stringify({ spec: { resourceAttributes: { verb: 'get', resource: 'pods' } } }),
  ),
  request('POST', `${NAMESPACE}/serviceaccounts/default/token`, JSON.stringify({ spec: { audiences: ['a'] } })),
  request('PUT', `${NAMESPACE}/configmaps/there`, JSON.stringify(map)),
  request(
    'PUT',
    '/apis/apps/v1/namespaces/default/deployments/there/scale',
    JSON.stringify({ metadata: { name: 'there' }, spec: { replicas: 2 } }),
  ),
  request(
    'PATCH',
    `${NAMESPACE}/pods/there`,
    JSON.stringify({ spec: { containers: [{ name: 'main', image: 'b:2' }] } }),
    STRATEGIC,
  ),
  request(
    'PATCH',
    `${NAMESPACE}/configmaps/there`,
    JSON.stringify([{ op: 'add', path: '/data/b', value: '2' }]),
    'application/json-patch+json',
  ),
  request('PATCH', `${NAMESPACE}/configmaps/there?fieldManager=f&force=true`, JSON.stringify(map), APPLY),
  request(
    'PATCH',
    `${NAMESPACE}/pods/there/status`,
    JSON.stringify({ status: { phase: 'Running' } }),
    'application/merge-patch+json',
  ),
  request(
    'DELETE',
    `${NAMESPACE}/pods/there?gracePeriodSeconds=0`,
    JSON.stringify({ propagationPolicy: 'Foreground', preconditions: { uid: 'x' } }),
  ),
  request('DELETE', `${NAMESPACE}/configmaps?labelSelector=none`),
];

export function apiRequests(transport: Transport): Omit<Fuzz, 'inputs'> {
  return {
    name: 'requests to the API server',
    corpus,
    dictionary: [
      ...[
        '/api/v1',
        '/apis',
        '/namespaces/default',
        '/status',
        '/scale',
        '?watch=1',
        '&limit=1',
        '&continue=',
        'dryRun=',
      ],
      ...[
        '"metadata"',
        '"spec"',
        '"__proto__"',
        '"finalizers"',
        '"ownerReferences"',
        '"managedFields"',
        '[]',
        '{}',
        'null',
      ],
      ...['application/yaml', 'application/json-patch+json', 'application/merge-patch+json', STRATEGIC, APPLY],
    ],
    largestInput: 16 * 1024,
    run: (input) => answerTo(transport, input),
  };
}

async function answerTo(transport: Transport, input: Buffer): Promise<string> {
  const end = input.indexOf('\n\n');
  const [first = '', ...rest] = input.toString('latin1', 0, end < 0 ? input.length : end).split('\n');
  const [method = '', target = ''] = first.split(' ');
  if (!METHODS.includes(method) || !target.startsWith('/')) return 'none';
  const headers = Object.fromEntries(
    rest.flatMap((line) => {
      const [name = '', value = ''] = line.split(': ');
      return HEADERS.includes(name) ? [[name, value]] : [];
    }),
  );
  const isRead = method === 'GET' || method === 'HEAD' || method === 'OPTIONS';
  const path = isRead ? target : `${target}${target.includes('?') ? '&' : '?'}${DRY}`;
  const answer = await transport.request({
    method,
    path,
    headers,
    ...(end < 0 || isRead ? {} : { body: input.subarray(end + 2) }),
  });
  if (answer.status < 400) {
    // A watch may go on for ever.
    answer.body.destroy();
    return String(answer.status);
  }
  const text = (await readAll(answer.body)).toString();
  const told = /^\s*\{/.test(text) ? (JSON.parse(text) as { kind: string; message?: string }) : undefined;
  // Of methods and streams that are not served here.
  const isOurs = answer.status >= 500 && ![501, 503, 504].includes(answer.status);
  assert.equal(isOurs, false, `${method} ${path}: ${text}`);
  assert.ok(told === undefined ? text.includes('kind: Status') : told.kind === 'Status', text);
  // What was said, without names and values: an input that is refused for a new reason is bred from.
  return `${answer.status} ${told?.message?.replace(/\S*[^a-zA-Z\s,:]\S*/g, '').slice(0, 60)}`;
}

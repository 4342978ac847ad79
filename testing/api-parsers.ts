/** Every parser of untrusted text and bytes of the API server and the cluster, with a corpus for each: `fuzz` runs them. */
import assert from 'node:assert/strict';
import { applyTo } from '#cluster/apiserver/apply.ts';
import { issuerOf } from '#cluster/apiserver/authenticators/service-account.ts';
import { StatusError } from '#cluster/apiserver/errors.ts';
import type { Exchange } from '#cluster/apiserver/exchange.ts';
import { applyJsonPatch, JsonPatchError } from '#cluster/apiserver/json-patch.ts';
import { readListOptions } from '#cluster/apiserver/list-options.ts';
import { mergePatch } from '#cluster/apiserver/merge-patch.ts';
import { negotiate } from '#cluster/apiserver/negotiate.ts';
import { parseJson, parseYaml } from '#cluster/apiserver/read-body.ts';
import { parseResourcePath } from '#cluster/apiserver/route.ts';
import { readSelection } from '#cluster/apiserver/selection.ts';
import { strategicMerge } from '#cluster/apiserver/strategic-merge.ts';
import { CelError, compileCel, withinLimit } from '#cluster/cel/cel.ts';
import { celValue } from '#cluster/cel/value.ts';
import { cronTimes } from '#cluster/controllers/cron-times.ts';
import { formatAmount, parseAmount } from '#cluster/kinds/amount.ts';
import { scheduleProblem } from '#cluster/kinds/cron-schedule.ts';
import { decodeObject } from '#cluster/kinds/decode.ts';
import { hasFormat } from '#cluster/kinds/formats.ts';
import { parseJsonPath } from '#cluster/kinds/json-path.ts';
import type { ApiObject } from '#cluster/kinds/kind.ts';
import { labelValueProblem, nameProblems, qualifiedNameProblem } from '#cluster/kinds/names.ts';
import { podKind } from '#cluster/kinds/pod.ts';
import { encodeItem, envelope } from '#cluster/kinds/protobuf-encode.ts';
import { decodeProtobuf } from '#cluster/kinds/protobuf.ts';
import { quantityProblem, quantityValue } from '#cluster/kinds/quantity.ts';
import { definitions, schemaOf } from '#cluster/kinds/schema.ts';
import {
  formatLabelSelector,
  matchesFields,
  matchesLabels,
  parseFieldSelector,
  parseLabelSelector,
  SelectorError,
} from '#cluster/kinds/selector.ts';
import type { ClusterView } from '#cluster/network/dns/dns.ts';
import { recordsAt } from '#cluster/network/dns/zone.ts';
import { parseSize } from '#cluster/node/remote-streams.ts';
import { credentialsFor } from '#cluster/node/images.ts';
import { ProtobufError } from '#lib/protobuf.ts';
import type { Fuzz } from './fuzz.ts';

const pod: ApiObject = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'a', labels: { app: 'x' }, finalizers: ['a/b'] },
  spec: {
    containers: [{ name: 'main', image: 'a:1', env: [{ name: 'A', value: '1' }], ports: [{ containerPort: 80 }] }],
    tolerations: [{ key: 'a', operator: 'Exists' }],
  },
};
const podSchema = schemaOf(podKind);
const labelSelectorSchema = definitions()['io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector'] ?? {};
const isStatus = (error: unknown): boolean => error instanceof StatusError && error.code < 500;
const text = (bytes: Buffer): string => bytes.toString('utf8');

/** Two or more JSON values, a line each; an input that is none is no input of what takes values. */
function jsonLines(input: Buffer): unknown[] | undefined {
  try {
    return text(input)
      .split('\n')
      .map((line) => JSON.parse(line) as unknown);
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Nothing that every object inherits was changed. */
function unpolluted(): void {
  for (const shared of [Object.prototype, Array.prototype, Function.prototype, Object.prototype.toString])
    assert.deepEqual(Object.keys(shared), []);
  assert.equal(typeof Object.prototype.hasOwnProperty.call, 'function');
}

function lines(...values: unknown[]): string {
  return values.map((value) => JSON.stringify(value)).join('\n');
}

function exchangeOf(headers: Record<string, string>): Exchange {
  return { headers } as unknown as Exchange;
}

const WORDS = ['metadata', 'labels', 'spec', 'containers', 'name', '__proto__', 'constructor', 'prototype', 'toString'];
const JSON_WORDS = [
  ...WORDS.map((word) => JSON.stringify(word)),
  '[',
  ']',
  '{',
  '}',
  ':',
  ',',
  'null',
  '[]',
  '{}',
  '"',
];

export const API_PARSERS: readonly Omit<Fuzz, 'inputs'>[] = [
  {
    name: 'label selectors',
    corpus: ['a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1', 'example.com/a in (b)', '', ' a == b '],
    dictionary: [' in ', ' notin ', '(', ')', ',', '=', '!=', '==', '!', '>', '<'],
    refuses: (error) => error instanceof SelectorError,
    run: (input) => {
      const requirements = parseLabelSelector(text(input));
      return `${requirements.map(({ operator }) => operator).join()} ${matchesLabels(requirements, { a: 'b', e: 'f' })}`;
    },
  },
  {
    name: 'field selectors',
    corpus: ['metadata.name=x,status.phase!=Running', 'a==b\\,c', ''],
    dictionary: ['=', '!=', '==', ',', '\\', '\\,', '\\='],
    refuses: (error) => error instanceof SelectorError,
    run: (input) => {
      const requirements = parseFieldSelector(text(input));
      return `${requirements.length} ${matchesFields(requirements, { 'metadata.name': 'x' })}`;
    },
  },
  {
    name: 'label selectors as objects',
    corpus: [
      JSON.stringify({ matchLabels: { a: 'b' }, matchExpressions: [{ key: 'c', operator: 'In', values: ['d'] }] }),
    ],
    dictionary: JSON_WORDS,
    run: (input) => {
      const [value] = jsonLines(input) ?? [];
      if (!isObject(value)) return 'none';
      const { wrongTypes } = decodeObject(value, labelSelectorSchema);
      return wrongTypes.length > 0 ? 'wrong' : formatLabelSelector(value).length > 0;
    },
  },
  {
    name: 'quantities',
    corpus: ['100m', '1.5', '128Mi', '1e3', '-0.5Gi', '+1E', '.5', '1.', '12e-3', '-0e99999999999999999999', '12Ei'],
    dictionary: ['Ki', 'm', 'E', 'e', '.', '-', '+', '1111111111'],
    run: (input) => {
      const quantity = text(input);
      const problem = quantityProblem(quantity);
      assert.equal(Number.isNaN(quantityValue(quantity)) && problem === undefined, false);
      const amount = parseAmount(quantity);
      if (problem !== undefined) return 'refused';
      const again = parseAmount(formatAmount(amount));
      assert.equal(again.nano, amount.nano, `${quantity} became ${formatAmount(amount)}`);
      return `${amount.binary} ${amount.nano < 0n}`;
    },
  },
  {
    name: 'JSON patches',
    corpus: [
      lines(pod, [{ op: 'add', path: '/metadata/labels/b', value: '1' }]),
      lines(pod, [
        { op: 'test', path: '/spec/containers/0/name', value: 'main' },
        { op: 'copy', from: '/spec', path: '/spec/again' },
        { op: 'move', from: '/metadata/labels', path: '/metadata/annotations' },
        { op: 'replace', path: '/kind', value: null },
        { op: 'remove', path: '/spec/containers/0' },
        { op: 'add', path: '/spec/tolerations/-', value: {} },
      ]),
    ],
    dictionary: [
      ...JSON_WORDS,
      '"op":"copy"',
      '"op":"move"',
      '"path":"/__proto__/x"',
      '"from":""',
      '/-',
      '~1',
      '~0',
      '/toString/call',
    ],
    refuses: (error) => error instanceof JsonPatchError,
    run: (input) => {
      const [document, operations] = jsonLines(input) ?? [];
      if (!Array.isArray(operations)) return 'none';
      try {
        return typeof applyJsonPatch(document, operations);
      } finally {
        unpolluted();
      }
    },
  },
  {
    name: 'merge and strategic merge patches',
    corpus: [
      lines(pod, { metadata: { labels: { app: null, b: '2' } } }),
      lines(pod, {
        spec: {
          $retainKeys: ['containers'],
          containers: [
            { name: 'main', image: 'b' },
            { name: 'x', $patch: 'delete' },
          ],
          '$setElementOrder/containers': [{ name: 'main' }],
        },
        metadata: { '$deleteFromPrimitiveList/finalizers': ['a/b'] },
      }),
    ],
    dictionary: [
      ...JSON_WORDS,
      '"$patch":"delete"',
      '"$patch":"replace"',
      '"$retainKeys"',
      '"$setElementOrder/containers"',
      '"$deleteFromPrimitiveList/finalizers"',
    ],
    refuses: isStatus,
    run: (input) => {
      const [document, patch] = jsonLines(input) ?? [];
      if (!isObject(document) || !isObject(patch)) return 'none';
      try {
        mergePatch(structuredClone(document), patch);
        return typeof strategicMerge(document, patch, podSchema);
      } finally {
        unpolluted();
      }
    },
  },
  {
    name: 'applied configurations',
    corpus: [
      lines(pod, {
        ...pod,
        spec: {
          containers: [
            { name: 'main', image: 'b' },
            { name: 'other', image: 'c' },
          ],
        },
      }),
    ],
    dictionary: JSON_WORDS,
    refuses: isStatus,
    run: (input) => {
      const [live, applied] = jsonLines(input) ?? [];
      if (!isObject(live) || !isObject(applied) || !isObject(live['metadata']) || !isObject(applied['metadata']))
        return 'none';
      // As those that get there were read.
      for (const object of [live, applied])
        if (decodeObject(object, podSchema ?? {}).wrongTypes.length > 0) return 'wrong';
      const [one, other] = [live as unknown as ApiObject, applied as unknown as ApiObject];
      const options = { manager: 'fuzz', force: true, subresource: '', time: 0 };
      const first = applyTo(podKind, one, structuredClone(other), options);
      const again = applyTo(podKind, structuredClone(first), structuredClone(other), options);
      unpolluted();
      return again.metadata.managedFields?.length;
    },
  },
  {
    name: 'JSON bodies',
    corpus: [JSON.stringify(pod), '{"a":{"b":[1,{"c":"\\u0041"}]},"a":2}', '[', ''],
    dictionary: JSON_WORDS,
    refuses: isStatus,
    run: (input) => {
      let doubts = 0;
      const value = parseJson(input, () => (doubts += 1));
      return `${typeof value} ${doubts > 0}`;
    },
  },
  {
    name: 'YAML bodies',
    corpus: [
      'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: &l {a: b}}\ndata:\n  a: |\n    text\n  b: *l\n',
      '- a\n- b: c\n  d: !!str 1\n',
      '? a\n: b\n<<: {c: d}\n',
    ],
    dictionary: [
      '&a',
      '*a',
      '!!binary',
      '<<:',
      '- ',
      ': ',
      '|\n',
      '>\n',
      '---\n',
      '...\n',
      '%YAML',
      '{',
      '[',
      '"',
      "'",
      '? ',
    ],
    largestInput: 4096,
    refuses: isStatus,
    run: async (input) => {
      const value = await parseYaml(input);
      unpolluted();
      return typeof value;
    },
  },
  {
    name: 'protobuf bodies',
    corpus: [envelope('v1', 'Pod', encodeItem(pod as unknown as Record<string, unknown>) ?? Buffer.alloc(0)), 'k8s\0'],
    refuses: (error) => error instanceof ProtobufError,
    run: (input) => {
      const object = decodeProtobuf(input);
      unpolluted();
      return Object.keys(object).length;
    },
  },
  {
    name: 'schedules',
    corpus: ['*/5 1-3,7 ? jan-mar MON', '0 0 29 2 *', '@every 1h30m', '@hourly', '59 23 31 12 6'],
    dictionary: ['@every ', '*/', '-', ',', 'sun', 'dec', '1.5h', '?', '/0'],
    run: (input) => {
      const schedule = text(input);
      const problem = scheduleProblem(schedule);
      if (problem !== undefined) return problem.slice(0, 12);
      const from = Date.UTC(2024, 1, 28);
      const next = cronTimes(schedule, 'Europe/Berlin').next(from);
      assert.ok(next === undefined || next > from, `${schedule}: ${next}`);
      return next === undefined ? 'never' : 'some time';
    },
  },
  {
    name: 'options of lists and watches',
    corpus: [
      'labelSelector=a%3Db&fieldSelector=metadata.name%3Dx&limit=5&continue=abc&resourceVersion=1',
      'watch=1&resourceVersion=0&allowWatchBookmarks=true&timeoutSeconds=5',
      'watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=7',
      'resourceVersion=7&resourceVersionMatch=Exact&limit=1',
    ],
    dictionary: [
      'limit=',
      'continue=',
      'resourceVersion=',
      'resourceVersionMatch=Exact',
      'sendInitialEvents=',
      '&',
      '%',
      '%2C',
    ],
    refuses: isStatus,
    run: (input) => {
      const query = new URLSearchParams(text(input));
      const watching = query.has('watch');
      const { limit, match } = readListOptions(query, watching);
      return `${watching} ${limit > 0} ${match} ${readSelection(podKind, 'default', '', query).all}`;
    },
  },
  {
    name: 'accepted forms',
    corpus: [
      'application/json;as=Table;v=v1;g=meta.k8s.io,application/json',
      'application/vnd.kubernetes.protobuf, */*;q=0.1',
      'application/yaml',
    ],
    dictionary: [';as=Table', ';v=v1', ';g=meta.k8s.io', 'PartialObjectMetadataList', ',', ';', '*/*'],
    refuses: isStatus,
    run: (input) => negotiate(exchangeOf({ accept: text(input) }), podKind, true).as,
  },
  {
    name: 'paths',
    corpus: [
      '/api/v1/namespaces/default/pods/a/log?x=1',
      '/apis/apps/v1/deployments',
      '/api/v1/watch/namespaces/x/pods/y',
      '/api/v1/namespaces/a%2Fb/finalize',
    ],
    dictionary: ['/api', '/apis', '/v1', '/namespaces', '/watch', '%', '%2F', '//', '..'],
    refuses: isStatus,
    run: (input) => {
      const request = parseResourcePath('GET', text(input), new URLSearchParams());
      return request === undefined
        ? 'none'
        : `${request.verb} ${request.namespace !== ''} ${request.subresource !== ''}`;
    },
  },
  {
    name: 'JSON paths',
    corpus: ['.spec.replicas', '{.a[0].b}', '.c[?(@.type=="Ready")].status', ".d['e'].f.*", '.a\\.b'],
    dictionary: ['[', ']', '.', '*', '?(@.', '==', '"', "'", '{', '}'],
    run: (input) => {
      const read = parseJsonPath(text(input));
      return read === undefined ? 'none' : read(pod).length;
    },
  },
  {
    name: 'CEL expressions',
    corpus: [
      'self.spec.containers.all(c, c.image.startsWith("a:") && size(c.name) < 63)',
      "has(self.metadata.labels) ? self.metadata.labels['app'] in ['x','y'] : true",
      'self.spec.containers.map(c, c.name).exists_one(n, n == "main") || quantity("1Gi").isGreaterThan(quantity("1"))',
      'self.metadata.name.matches("^a+$") && "a-b".split("-").join("+") == "a+b"',
    ],
    dictionary: [
      'self',
      '.all(c, ',
      '.map(c, ',
      '.filter(c, ',
      '&&',
      '||',
      '[',
      ']',
      '(',
      ')',
      '"',
      '+',
      'has(',
      'in',
      'size(',
      '.matches("',
      '1u',
      'b"x"',
      '?.',
      'optional.of(',
    ],
    largestInput: 2048,
    refuses: (error) => error instanceof CelError,
    run: (input) => {
      const program = compileCel(text(input), ['self']);
      return `${program.type} ${typeof withinLimit(() => program.evaluate({ self: celValue(pod, podSchema) }))}`;
    },
  },
  {
    name: 'names and labels',
    corpus: ['a-b.c', 'example.com/name', 'A_b.1', '..', 'x'.repeat(254)],
    dictionary: ['-', '.', '/', '_', 'A', '\0'],
    run: (input) => {
      const name = text(input);
      const problems = [
        nameProblems('dns-label', name),
        nameProblems('dns-subdomain', name),
        nameProblems('path-segment', name),
        qualifiedNameProblem(name),
        labelValueProblem(name),
      ];
      return problems.map((problem) => (problem === undefined ? 1 : 0)).join('');
    },
  },
  {
    name: 'formats',
    corpus: [
      '2024-01-02T03:04:05Z',
      '10.0.0.0/8',
      'fe80::1',
      '1h2m3.5s',
      'a@b',
      'http://x/',
      'rgb(1,2,3)',
      'AAAA',
      '9780306406157',
    ],
    dictionary: ['T', 'Z', ':', '.', '/', '=', 'h', 'rgb('],
    run: (input) => {
      const names = [
        'date',
        'date-time',
        'cidr',
        'ipv6',
        'duration',
        'email',
        'uri',
        'rgbcolor',
        'byte',
        'isbn',
        'hostname',
        'uuid',
      ];
      return names.map((name) => (hasFormat(text(input), name) ? 1 : 0)).join('');
    },
  },
  {
    name: 'names that pods ask for',
    corpus: [
      'web.default.svc',
      '_http._tcp.web.default.svc',
      '10-1-2-3.default.pod',
      '10--11%2-3.default.pod',
      'ns.dns',
      'dns-version',
      'a.b.web.default.svc',
    ],
    dictionary: ['.', '_', 'svc', 'pod', 'default', 'web', '-'],
    run: (input) => {
      const found = recordsAt(dnsView, text(input).split('.'), '10.0.0.10');
      return found === undefined ? 'none' : `${found.addresses.length} ${found.services?.().length}`;
    },
  },
  {
    name: 'sizes of terminals',
    corpus: ['{"Width":80,"Height":24}', '{}', 'null', '{"Width":-1,"Height":1e9}'],
    dictionary: JSON_WORDS,
    run: (input) => parseSize(text(input)) !== undefined,
  },
  {
    name: 'tokens before they are verified',
    corpus: [
      `${Buffer.from('{"alg":"ES256"}').toString('base64url')}.${Buffer.from('{"iss":"x"}').toString('base64url')}.c2ln`,
      'a.b.c',
    ],
    dictionary: ['.', '=', 'eyJ'],
    run: (input) => typeof issuerOf(text(input)),
  },
  {
    name: 'pull secrets',
    corpus: [
      JSON.stringify({
        auths: {
          'https://*.example.com/v1/': { auth: 'YTpi' },
          'r*e*g*.example.com/x': { username: 'a', password: 'b' },
        },
      }),
      '{"auths":null}',
    ],
    dictionary: [...JSON_WORDS, '*', '**', '"auths"', '"auth"', '://', '.'],
    run: (input) =>
      credentialsFor('registry.example.com/x/y:1', {
        metadata: {},
        data: { '.dockerconfigjson': input.toString('base64') },
      }).length,
  },
];

const web = {
  metadata: { name: 'web', uid: 'web', resourceVersion: '1', creationTimestamp: '2024-01-01T00:00:00Z' },
  spec: { clusterIP: '10.0.0.5', ports: [{ name: 'http', port: 80 }] },
};

const dnsView: ClusterView = {
  hasNamespace: (name) => name === 'default',
  hasPod: (_namespace, ip) => ip === '10.1.2.3',
  service: (namespace, name) => (namespace === 'default' && name === 'web' ? web : undefined),
  slices: () => [],
  servicesAt: () => [],
  servicesNamed: (name) => (name === 'web.apps.internal' ? [web] : []),
  slicesWith: () => [],
};

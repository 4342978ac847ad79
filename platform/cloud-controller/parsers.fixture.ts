/** The parsers of what `cf push` sends, for the fuzzer. */
import type { Fuzz } from '#testing/fuzz.ts';
import { CloudFoundryError } from './errors.ts';
import { parseManifest } from './manifest/parse.ts';
import { parseResources, readResources } from './operations/resources.ts';

const refuses = (error: unknown): boolean => error instanceof CloudFoundryError;

const MANIFESTS = [
  `---
common: &common
  memory: 64M
  env: &env {COLOR: red, LEVEL: 3}
applications:
- name: front
  <<: *common
  random-route: true
  health-check-type: http
  health-check-http-endpoint: /up
  services:
  - db
  - {name: queue, binding_name: q, parameters: {a: [1, 2]}}
  metadata: {labels: {tier: web}, annotations: {note: ~}}
- name: back
  env: {<<: *env, COLOR: blue}
  no-route: true
  processes:
  - {type: worker, instances: 1, memory: 32M, disk_quota: 1G, command: run, timeout: 60}
  sidecars:
  - {name: helper, process_types: [web], command: help, memory: 16M}
`,
  `applications:
- name: x
  buildpacks: [nodejs]
  stack: sampan
  log-rate-limit-per-second: 16K
  readiness-health-check-type: process
  routes:
  - route: x.example.com/path
    protocol: http2
    options: {loadbalancing: least-connection}
  - {route: "tcp.example.com:1024", protocol: tcp}
`,
  'applications: [{name: d, docker: {image: "nginx:1", username: u}, lifecycle: docker}]',
  'applications: [{name: f, dockerfile: a/Dockerfile, default-route: true, instances: 0}]',
];

const sha1 = 'a'.repeat(40);
const RESOURCES = [
  [{ checksum: { value: sha1 }, size_in_bytes: 36, path: 'a/b.js', mode: '644' }],
  [
    { sha1, size: 0, fn: 'x' },
    { sha1: sha1.toUpperCase(), size: 2 ** 40, fn: 'y', mode: '100755' },
  ],
  [],
];

export const pushParsers: Omit<Fuzz, 'inputs'>[] = [
  {
    name: 'manifests of apps',
    corpus: MANIFESTS,
    dictionary: [
      '&a',
      '*a',
      '<<: *a',
      '? ',
      '- ',
      ': ',
      '|\n',
      '!!set',
      '{',
      '[',
      '~',
      '---\n',
      '__proto__: ',
      'applications:',
      '.inf',
      '\t',
    ],
    // Cloud Foundry takes a megabyte; what is slow shows sooner.
    largestInput: 16 * 1024,
    refuses,
    async run(input) {
      const plans = await parseManifest(input.toString());
      return plans
        .map(
          ({ lifecycle, processes, routes, services }) =>
            `${lifecycle} ${processes.length} ${routes.length} ${services.length}`,
        )
        .join();
    },
  },
  {
    name: 'lists of resources to match',
    corpus: RESOURCES.map((list) => JSON.stringify(list)),
    dictionary: [
      '"checksum":',
      '"value":',
      '"size_in_bytes":',
      '"path":',
      '"mode":',
      '"sha1":',
      '"fn":',
      '"__proto__":',
      'null',
      '{}',
      '[',
      sha1,
    ],
    refuses,
    run(input) {
      const value = parseResources(input.toString());
      return [true, false].map((paths) => readResources(value, { paths }).length).join();
    },
  },
];

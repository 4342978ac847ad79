/**
 * Requests to the Docker API that no client sends: real ones, with pieces replaced, taken away and put elsewhere. Whatever comes, a reader
 * gives a value or refuses it with Docker's error and a status of the client's; anything else is a defect.
 */
import assert from 'node:assert/strict';
import { Fields, type Document } from '#engine/docker-api/body.ts';
import { readCreateRequest, restartPolicy } from '#engine/docker-api/create-request.ts';
import { parseKeys } from '#engine/docker-api/detach-keys.ts';
import { DockerError, toDockerError } from '#engine/docker-api/errors.ts';
import { readExecRequest } from '#engine/docker-api/execs.ts';
import { anyOf, hasLabels, parseFilters, pattern } from '#engine/docker-api/filters.ts';
import { readLimits } from '#engine/docker-api/limits-request.ts';
import { readColumns } from '#engine/docker-api/top.ts';

const CREATE: Document = {
  Hostname: 'h',
  Domainname: 'd',
  User: '1:1',
  AttachStdin: false,
  AttachStdout: true,
  ExposedPorts: { '80/tcp': {}, '90/udp': {} },
  Tty: false,
  OpenStdin: true,
  StdinOnce: true,
  Env: ['A=1', 'B'],
  Cmd: ['sh', '-c', 'true'],
  Entrypoint: ['/e'],
  Healthcheck: { Test: ['CMD-SHELL', 'true'], Interval: 1e9, Timeout: 1e9, Retries: 3, StartPeriod: 1e9 },
  Image: 'busybox',
  Volumes: { '/v': {} },
  WorkingDir: '/w',
  Labels: { a: 'b' },
  StopSignal: 'TERM',
  StopTimeout: 3,
  HostConfig: {
    Binds: ['/a:/b:ro', 'v:/c', '/d'],
    Mounts: [
      { Type: 'tmpfs', Target: '/t', TmpfsOptions: { SizeBytes: 1000, Mode: 511 } },
      { Type: 'volume', Source: 's', Target: '/u', ReadOnly: true },
      { Type: 'bind', Source: '/x', Target: '/y' },
    ],
    Tmpfs: { '/m': 'size=1m,mode=700,uid=1,noexec' },
    LogConfig: { Type: 'json-file', Config: { 'max-size': '1m', 'max-file': '2' } },
    NetworkMode: 'default',
    PortBindings: { '80/tcp': [{ HostIp: '127.0.0.1', HostPort: '8080' }] },
    RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 3 },
    AutoRemove: false,
    CapAdd: ['NET_ADMIN'],
    CapDrop: ['ALL'],
    Dns: ['1.1.1.1'],
    DnsOptions: ['ndots:1'],
    ExtraHosts: ['a:1.2.3.4'],
    GroupAdd: ['1', 'wheel'],
    SecurityOpt: ['no-new-privileges'],
    ShmSize: 1000,
    Sysctls: { 'net.core.somaxconn': '10' },
    Ulimits: [{ Name: 'nofile', Soft: 1, Hard: 2 }],
    Memory: 1e8,
    MemorySwap: 2e8,
    NanoCpus: 1e9,
    CpuShares: 100,
    CpusetCpus: '0',
    PidsLimit: 10,
    BlkioWeight: 100,
    OomScoreAdj: 10,
    Init: true,
    VolumesFrom: ['c:ro'],
    Annotations: { a: 'b' },
    StorageOpt: { size: '10G' },
  },
};
const EXEC: Document = { Cmd: ['true'], User: 'x', Env: ['A=1'], WorkingDir: '/', Tty: true, DetachKeys: 'ctrl-a,b' };
const UPDATE: Document = {
  Memory: 1e8,
  MemorySwap: -1,
  NanoCpus: 1e9,
  RestartPolicy: { Name: 'always' },
  PidsLimit: 5,
};
const FILTERS: Document = { label: ['a=b', 'c'], name: { x: true }, status: ['running'], id: [] };
const TEXTS = ['-ef', 'aux', '-o pid,args', '-eo pid=X,comm -o rss', 'ctrl-p,ctrl-q', 'a,ctrl-@'];

const ODD: readonly unknown[] = [
  ...[
    null,
    true,
    false,
    0,
    -1,
    1,
    0.5,
    Number.POSITIVE_INFINITY,
    -1e308,
    Number.MAX_SAFE_INTEGER,
    2 ** 53,
    2 ** 31,
    '',
    ' ',
    '\0',
    'a\0b',
  ],
  ...[
    '/',
    '..',
    '/..',
    '../..',
    '/a/../b',
    ':',
    '::',
    ':::',
    'a:b:c:d',
    '=',
    '==',
    '-1',
    '1e9',
    '99999999999999999999',
  ],
  ...['0', '65536', '80-', '80-90', '80/sctp', '[::1]', '1.2.3.4.5', 'no', 'always', 'NONE', 'CMD', 'ALL', 'CAP_ALL'],
  ...['(', '[a-', '\\', '%00', '\ud800', 'é'.repeat(50), 'x'.repeat(5000), 'ctrl-', 'ctrl-é', ',', ',,', 'size=', '=b'],
  ...[
    [],
    {},
    [[]],
    [{}],
    [null],
    ['a', 1],
    { '': '' },
    { constructor: 1 },
    { toString: null },
    JSON.parse('{"__proto__":{"x":1}}'),
  ],
];

/** mulberry32: the same numbers from the same seed. */
function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let value = Math.imul(state ^ (state >>> 15), state | 1);
    value ^= value + Math.imul(value ^ (value >>> 7), value | 61);
    return ((value ^ (value >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** @throws AssertionError naming the seed and the input */
export function fuzzDockerRequests(count: number, seed: number): { accepted: number; refused: number } {
  const random = randomOf(seed);
  const below = (limit: number): number => Math.floor(random() * limit);
  const result = { accepted: 0, refused: 0 };
  for (let index = 0; index < count; index += 1) {
    const [read, base] = TARGETS[below(TARGETS.length)] ?? [readUpdate, UPDATE];
    let input: unknown = structuredClone(base);
    for (let change = below(4); change >= 0; change -= 1) input = mutated(input, below);
    try {
      read(input);
      result.accepted += 1;
    } catch (error) {
      // What is no refusal of ours becomes 500 at the door.
      const refusal = toDockerError(error);
      const ok = refusal.status >= 400 && refusal.status < 500 && refusal.message !== '';
      assert.ok(ok, `seed ${seed}, input ${index}: ${JSON.stringify(input)?.slice(0, 2000)}: ${String(error)}`);
      result.refused += 1;
    }
  }
  assert.equal(({} as Record<string, unknown>)['x'], undefined, 'nothing reached the prototype of all');
  return result;
}

const engine = {
  limitSupport: () => ({ swap: true, cpuset: true, blockWeight: true }),
  info: () => ({ runtime: { name: 'runc', path: '/usr/bin/runc', version: '1' } }),
};

/** As `readBody` gives them: an object, or nothing is read. */
function asDocument(value: unknown): Document {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Document;
  throw new DockerError(400, 'the body is no object');
}

function readCreate(value: unknown): void {
  const request = readCreateRequest(asDocument(value), { id: 'ab'.repeat(32), engine, healthOf: () => undefined });
  // It is kept as JSON, and must be the same when it is read again.
  assert.deepEqual(JSON.parse(JSON.stringify(request.settings)), request.settings);
  for (const { target } of request.mounts)
    assert.ok(target.startsWith('/') && !target.split('/').includes('..'), target);
  assert.ok(!('privileged' in request.spec));
}

function readUpdate(value: unknown): void {
  const fields = new Fields(asDocument(value));
  const { limits } = readLimits(fields, engine);
  for (const limit of Object.values(limits)) assert.ok(typeof limit === 'string' || Number.isSafeInteger(limit));
  restartPolicy(fields);
}

function readFilters(value: unknown): void {
  const filters = parseFilters(JSON.stringify(value) ?? null, ['label', 'name', 'status', 'id']);
  hasLabels(filters, { a: 'b' });
  anyOf(filters, 'name', (text) => pattern(text).test('name'));
}

function readText(value: unknown): void {
  const text = String(JSON.stringify(value)).slice(1, 200);
  readColumns(text);
}

function readKeys(value: unknown): void {
  parseKeys(String(JSON.stringify(value)).slice(0, 200));
}

const TARGETS: readonly [(value: unknown) => unknown, unknown][] = [
  [readCreate, CREATE],
  [readCreate, CREATE],
  [(value) => readExecRequest(asDocument(value)), EXEC],
  [readUpdate, UPDATE],
  [readFilters, FILTERS],
  [readText, TEXTS],
  [readKeys, TEXTS],
];

/** One piece of it replaced, taken away, doubled, or given another name. */
function mutated(value: unknown, below: (limit: number) => number): unknown {
  const isLeaf = typeof value !== 'object' || value === null || below(12) === 0;
  if (isLeaf)
    return typeof value === 'string' && below(3) === 0
      ? spliced(value, below)
      : structuredClone(ODD[below(ODD.length)]);
  if (Array.isArray(value)) {
    const list: unknown[] = [...value];
    const at = below(list.length + 1);
    const kind = below(4);
    if (kind === 0) list.splice(at, 1);
    else if (kind === 1) list.splice(at, 0, ODD[below(ODD.length)]);
    else list[Math.min(at, Math.max(0, list.length - 1))] = mutated(list[at], below);
    return list;
  }
  const entries = Object.entries(value);
  const at = below(Math.max(1, entries.length));
  const [key = 'x', old] = entries[at] ?? [];
  const kind = below(8);
  if (kind === 0) entries.splice(at, 1);
  else if (kind === 1) entries.push([String(ODD[below(40)]), old]);
  else entries[at] = [key, mutated(old, below)];
  return Object.fromEntries(entries);
}

function spliced(text: string, below: (limit: number) => number): string {
  const odd = ODD.filter((one) => typeof one === 'string');
  const at = below(text.length + 1);
  return text.slice(0, at) + (odd[below(odd.length)] ?? '') + text.slice(at + below(3));
}

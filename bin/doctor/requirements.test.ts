import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { matchesGolden } from '#testing/golden.ts';
import { HostError } from '../host-error.ts';
import { throwFirstError } from '../preflight.ts';
import type { HostFacts } from './facts.ts';
import { judge } from './requirements.ts';

const good: HostFacts = {
  os: 'linux',
  architecture: 'x64',
  distribution: { id: 'debian', like: '', name: 'Debian GNU/Linux 12 (bookworm)' },
  kernel: '6.1.0-31-amd64',
  uid: 0,
  canMount: true,
  cgroups: 'v2',
  controllers: ['cpuset', 'cpu', 'io', 'memory', 'pids'],
  fileSystems: ['overlay', 'ext4'],
  userNamespaces: 15000,
  loopControl: true,
  commands: {
    runc: true,
    conmon: true,
    nft: true,
    ip: true,
    conntrack: true,
    haproxy: true,
    'nats-server': true,
    mmdebstrap: true,
    'mkfs.ext4': true,
    tar: true,
  },
  memoryBytes: 4 * 1024 ** 3,
  data: { directory: '/var/lib/sampan', freeBytes: 20 * 1024 ** 3, writable: true },
  openFiles: 65536,
  takenPorts: [],
  caBundle: true,
  unresolved: [],
  systemd: true,
};

const bad: Record<string, Partial<HostFacts>> = {
  'wrong-system': { os: 'darwin', architecture: 'arm64' },
  'wrong-distribution': { distribution: { id: 'fedora', like: '', name: 'Fedora Linux 42' } },
  'not-root': { uid: 1000, canMount: false },
  'old-kernel': { kernel: '5.10.0-34-amd64' },
  'unprivileged-container': { canMount: false },
  'no-cgroups': { cgroups: 'none', controllers: [] },
  'no-memory-controller': { controllers: ['cpu', 'pids'] },
  'no-overlay': { fileSystems: ['ext4'] },
  'no-user-namespaces': { userNamespaces: 0 },
  'no-loop': { loopControl: false },
  'full-disk': { data: { directory: '/var/lib/sampan', freeBytes: 1024 ** 3, writable: true } },
  'read-only-data': { data: { directory: '/var/lib/sampan', freeBytes: 20 * 1024 ** 3, writable: false } },
  'taken-port': { takenPorts: [{ flag: 'http', port: 80 }] },
};

test('a good machine has nothing wrong', () => {
  assert.deepEqual(
    judge(good).filter((finding) => finding.level !== 'ok'),
    [],
  );
});

for (const [name, facts] of Object.entries(bad)) {
  test(`${name}: one clear error with its remedy`, () => {
    assert.throws(
      () => throwFirstError(judge({ ...good, ...facts })),
      (error) => {
        assert.ok(error instanceof HostError);
        matchesGolden(
          join(import.meta.dirname, 'testdata', `${name}.txt`),
          `sampan: ${error.message}\n  remedy: ${error.remedy}\n`,
        );
        return true;
      },
    );
  });
}

test('what is missing, or only worth a word, stops nothing', () => {
  const findings = judge({
    ...good,
    commands: { ...good.commands, runc: false },
    caBundle: false,
    unresolved: ['api.sampan.localhost'],
    openFiles: 1024,
    memoryBytes: 1024 ** 3,
  });
  throwFirstError(findings);
  assert.deepEqual(
    findings.filter((finding) => finding.level !== 'ok').map((finding) => [finding.name, finding.level]),
    [
      ['packages', 'missing'],
      ['CA bundle', 'missing'],
      ['memory', 'warning'],
      ['open files', 'warning'],
      ['name resolution', 'warning'],
    ],
  );
});

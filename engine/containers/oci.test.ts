import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { EngineError } from '../engine.ts';
import { type OciRequest, commandLine, mergeEnvironment, ociConfig } from './oci.ts';

const request: OciRequest = {
  spec: {
    sandbox: 'a'.repeat(64),
    name: 'web',
    image: 'registry.test/app:1',
    args: ['--port', '8080'],
    env: ['PORT=8080', 'FROM_IMAGE=replaced'],
    limits: { memoryBytes: 268_435_456, cpuMillis: 500, cpuShares: 512, diskBytes: 1_073_741_824 },
    readOnlyRoot: true,
  },
  image: {
    architecture: 'amd64',
    os: 'linux',
    entrypoint: ['/server'],
    cmd: ['ignored'],
    env: ['PATH=/bin', 'FROM_IMAGE=1'],
    workingDirectory: '/app',
    layers: [],
  },
  user: { uid: 1000, gid: 1000, groups: [2000], home: '/home/app' },
  hostname: 'web-0',
  rootfs: '/run/sampan/engine/containers/c/rootfs',
  userNamespacePath: '/run/sampan/engine/sandboxes/s/user',
  networkNamespacePath: '/run/sampan/engine/sandboxes/s/net',
  idRange: { first: 6_553_600, length: 65_536 },
  cgroupsPath: '/sampan-golden/s/c',
  cgroupVersion: 'v2',
  swapAccounting: true,
  mounts: [
    {
      destination: '/data/deep',
      type: 'bind',
      source: '/run/sampan/engine/containers/c/mounts/0',
      options: ['rbind', 'rw'],
    },
    { destination: '/dev/shm', type: 'tmpfs', source: 'tmpfs', options: ['size=1048576'] },
  ],
  etc: { hosts: '/run/s/hosts', resolver: '/run/s/resolv.conf', hostname: '/run/s/hostname' },
  openFiles: 20_000,
  arch: 'x64',
};

test('the configuration is what the golden file shows', () => {
  const golden = fileURLToPath(new URL('testdata/config.golden', import.meta.url));
  const text = `${JSON.stringify(ociConfig(request), null, 2)}\n`;
  if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(golden, text);
  assert.equal(text, readFileSync(golden, 'utf8'));
});

test('SYS_ADMIN opens what it opens elsewhere, and nothing else does', () => {
  const allowed = (add: string[]): string[] => {
    const { seccomp } = ociConfig({ ...request, spec: { ...request.spec, capabilities: { add } } }).linux as {
      seccomp: { syscalls: { names: string[]; action: string; args?: unknown[] }[] };
    };
    return seccomp.syscalls
      .filter(({ action, args }) => action === 'SCMP_ACT_ALLOW' && args === undefined)
      .flatMap(({ names }) => names);
  };
  for (const name of [
    'mount',
    'unshare',
    'setns',
    'bpf',
    'clone3',
    'open_tree',
    'add_key',
    'io_uring_setup',
    'userfaultfd',
    'keyctl',
  ]) {
    assert.ok(!allowed([]).includes(name), name);
  }
  assert.ok(allowed(['SYS_ADMIN']).includes('mount'));
  assert.ok(!allowed(['SYS_ADMIN']).includes('init_module'));
});

test('command and args replace the image’s as Kubernetes has it', () => {
  const image = { ...request.image, entrypoint: ['e'], cmd: ['c'] };
  assert.deepEqual(commandLine({}, image), ['e', 'c']);
  assert.deepEqual(commandLine({ args: ['a'] }, image), ['e', 'a']);
  assert.deepEqual(commandLine({ command: ['x'] }, image), ['x']);
  assert.deepEqual(commandLine({ command: ['x'], args: ['a'] }, image), ['x', 'a']);
  assert.throws(() => commandLine({}, { ...image, entrypoint: [], cmd: [] }), EngineError);
});

test('later assignments win, in the place of the first', () => {
  assert.deepEqual(mergeEnvironment(['A=1', 'B=2'], undefined, ['A=3', 'C=']), ['A=3', 'B=2', 'C=']);
  assert.throws(() => mergeEnvironment(['NOVALUE']), /NOVALUE/);
});

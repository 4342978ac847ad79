import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { EngineError } from '../engine.ts';
import { commandLine, mergeEnvironment, ociConfig } from './oci.ts';
import { ociRequest as request } from './testdata/oci-request.ts';

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

test('without a filter, a volume’s device cannot be taken from its file, and crun takes the profile too', () => {
  const devices = [{ hostPath: '/v', path: '/dev/v', access: 'rw', trusted: true as const }];
  const filter = (spec: object): unknown => {
    const linux = ociConfig({ ...request, spec: { ...request.spec, ...spec } }).linux as { seccomp?: unknown };
    return linux.seccomp;
  };
  assert.equal(filter({ seccomp: 'unconfined' }), undefined);
  const profile = filter({ seccomp: 'unconfined', devices }) as Record<string, unknown>;
  assert.deepEqual(Object.keys(profile), ['defaultAction', 'architectures', 'syscalls']);
  assert.equal(profile['defaultAction'], 'SCMP_ACT_ALLOW');
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

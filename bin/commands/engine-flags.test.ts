import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createProgram } from '../program.ts';
import { registryFlags } from './engine-flags.ts';

test('mirrors: a host, or a name for it; what cannot be is refused before anything starts', () => {
  const { mirrors } = registryFlags({ mirror: ['docker.io', 'lan=10.0.0.1:5000'] });
  assert.deepEqual(mirrors, { 'docker.io': 'docker.io', lan: '10.0.0.1:5000' });
  for (const [mirror, why] of [
    [['10.0.0.1:5000'], /repositories cannot begin with "10.0.0.1:5000"; write name=10.0.0.1:5000/],
    [['Upper=a.b'], /repositories cannot begin with "Upper"/],
    [['a=https://b.c'], /"https:\/\/b.c" is no host/],
    [['a=b.c', 'a/d=e.f'], /another mirror at a\/d/],
    [['a='], /is no host/],
  ] as const)
    assert.throws(() => registryFlags({ mirror: [...mirror] }), why);
});

test('a build timeout is a number and a unit', () => {
  assert.equal(registryFlags({ buildTimeout: '90s' }).buildTimeoutMilliseconds, 90_000);
  assert.equal(registryFlags({ buildTimeout: '4h' }).buildTimeoutMilliseconds, 14_400_000);
  assert.equal(registryFlags({}).buildTimeoutMilliseconds, undefined);
  for (const buildTimeout of ['0s', '90', 'soon', '-1m', '9999h', '1.5h'])
    assert.throws(() => registryFlags({ buildTimeout }), /--build-timeout: it is no number/);
});

test('logins come from a file of docker’s', () => {
  const directory = mkdtempSync(join(tmpdir(), 'engine-flags-'));
  const file = join(directory, 'config.json');
  const read = (document: unknown): unknown => {
    writeFileSync(file, JSON.stringify(document));
    return registryFlags({ registryAuth: file }).registries;
  };
  try {
    const auths = {
      'https://index.docker.io/v1/': { auth: btoa('ann:a:b') },
      'r.example:5000': { auth: btoa('bob:c') },
    };
    assert.deepEqual(read({ auths }), {
      'docker.io': { username: 'ann', password: 'a:b' },
      'r.example:5000': { username: 'bob', password: 'c' },
    });
    assert.throws(() => read({ auths: { x: {} } }), /the login for x is not in it/);
    assert.throws(() => read({}), /no "auths"/);
    assert.throws(() => registryFlags({ registryAuth: join(directory, 'none') }), /cannot be read as JSON: ENOENT/);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('every flag of the engine has a line of help', async () => {
  const program = await createProgram([]);
  const engine = program.commands.find((command) => command.name() === 'engine');
  assert.ok(engine !== undefined && engine.options.length > 10);
  for (const { long, description } of engine.options)
    assert.ok(description.length > 20 && description.length < 110, `${long}: ${description}`);
});

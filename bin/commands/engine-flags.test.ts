import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createProgram } from '../program.ts';
import { engineSettings, requirePaths } from './engine-flags.ts';

test('mirrors: a host, or a name for it; what cannot be is refused before anything starts', () => {
  const { mirrors } = engineSettings({ mirror: ['docker.io', 'lan=10.0.0.1:5000'] });
  assert.deepEqual(mirrors, { 'docker.io': 'docker.io', lan: '10.0.0.1:5000' });
  for (const [mirror, why] of [
    [['10.0.0.1:5000'], /repositories cannot begin with "10.0.0.1:5000"; write name=10.0.0.1:5000/],
    [['Upper=a.b'], /repositories cannot begin with "Upper"/],
    [['a=https://b.c'], /"https:\/\/b.c" is no host/],
    [['a=b.c', 'a/d=e.f'], /another mirror at a\/d/],
    [['a='], /is no host/],
  ] as const)
    assert.throws(() => engineSettings({ mirror: [...mirror] }), why);
});

test('a build timeout is a number and a unit', () => {
  assert.equal(engineSettings({ buildTimeout: '90s' }).buildTimeoutMilliseconds, 90_000);
  assert.equal(engineSettings({ buildTimeout: '4h' }).buildTimeoutMilliseconds, 14_400_000);
  assert.equal(engineSettings({}).buildTimeoutMilliseconds, undefined);
  for (const buildTimeout of ['0s', '90', 'soon', '-1m', '9999h', '1.5h'])
    assert.throws(() => engineSettings({ buildTimeout }), /--build-timeout: it is no number/);
});

test('logins come from a file of docker’s', () => {
  const directory = mkdtempSync(join(tmpdir(), 'engine-flags-'));
  const file = join(directory, 'config.json');
  const read = (document: unknown): unknown => {
    writeFileSync(file, JSON.stringify(document));
    return engineSettings({ registryAuth: file }).registries;
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
    assert.throws(() => engineSettings({ registryAuth: join(directory, 'none') }), /cannot be read as JSON: ENOENT/);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('risks, paths, watermarks and the door', () => {
  assert.deepEqual(engineSettings({ allowPrivileged: true, allowUnconfined: true, allowBind: ['/srv'] }), {
    allowedBinds: ['/srv'],
    allowedDevices: [],
    allowedRisks: ['unconfined', 'privileged'],
    mirrors: {},
    registries: {},
    diskWatermarks: {},
  });
  const { diskWatermarks, tcp } = engineSettings({ diskHigh: '90', diskLow: '70', tcp: '[::1]:2376' });
  assert.deepEqual(
    [diskWatermarks, tcp],
    [
      { highPercent: 90, lowPercent: 70 },
      { host: '::1', port: 2376 },
    ],
  );
  for (const diskHigh of ['0', '101', 'much', '-1']) assert.throws(() => engineSettings({ diskHigh }), /no percentage/);
  assert.throws(() => engineSettings({ diskHigh: '50' }), /"80" as --disk-low: --disk-high is 50/);
  assert.throws(() => engineSettings({ tcp: '2376' }), /not HOST:PORT/);
  requirePaths({ allowBind: ['/'], allowDevice: ['/dev/null'], runtime: 'runc' });
  assert.throws(() => requirePaths({ runtime: 'no-such-runtime' }), /--runtime: there is no such program/);
  assert.throws(() => requirePaths({ allowBind: ['data'] }), /"data" as --allow-bind/);
  assert.throws(() => requirePaths({ allowDevice: ['/dev/none'] }), /"\/dev\/none" as --allow-device/);
});

test('every flag of the engine has a line of help, and `up` has all of them', async () => {
  const program = await createProgram([]);
  const flagsOf = (name: string): (string | undefined)[] =>
    program.commands.find((command) => command.name() === name)?.options.map(({ long }) => long) ?? [];
  const engine = program.commands.find((command) => command.name() === 'engine');
  assert.ok(engine !== undefined && engine.options.length > 10);
  for (const { long, description } of engine.options)
    assert.ok(description.length > 20 && description.length < 110, `${long}: ${description}`);
  assert.deepEqual(
    flagsOf('engine').filter((flag) => !flagsOf('up').includes(flag)),
    [],
  );
});

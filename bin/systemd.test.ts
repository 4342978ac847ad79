import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { matchesGolden } from '#testing/golden.ts';
import { networkSettings, unitText } from './systemd.ts';

const command = ['/opt/node/bin/node', '--experimental-ffi', '/srv/sampan/bin/sampan.ts', 'role'];
const plain = { instance: 'staging', environment: {}, canBackOff: false };

for (const role of ['server', 'agent']) {
  test(`the unit of ${role}`, () => {
    matchesGolden(
      join(import.meta.dirname, 'testdata', `unit-${role}.service`),
      unitText({ ...plain, role, command: [...command, role, '--data', '/var/lib/sampan-staging'] }),
    );
  });
}

test('a unit with a proxy, an own CA, and signs that mean something to systemd', () => {
  matchesGolden(
    join(import.meta.dirname, 'testdata', 'unit-settings.service'),
    unitText({
      ...plain,
      role: 'platform',
      command: [...command, 'platform', '--data', '/srv/a "b" 100% $HOME\\x'],
      environment: networkSettings({
        https_proxy: 'http://user:50%25$@proxy.example:3128',
        NO_PROXY: 'localhost,.example',
        NODE_EXTRA_CA_CERTS: '/etc/ssl/own ca.pem',
        npm_config_registry: 'https://npm.example/',
        HOME: '/root',
        AWS_SECRET_ACCESS_KEY: 'secret',
      }),
      canBackOff: true,
    }),
  );
});

test('only settings of the network are taken along', () => {
  assert.deepEqual(
    networkSettings({ http_proxy: 'http://proxy:3128', HTTP_PROXY: '', PATH: '/bin', SAMPAN_NAME: 'x' }),
    {
      http_proxy: 'http://proxy:3128',
    },
  );
});

import { join } from 'node:path';
import { test } from 'node:test';
import { matchesGolden } from '#testing/golden.ts';
import { environmentText, networkSettings, unitText } from './systemd.ts';

const command = ['/opt/node/bin/node', '--experimental-ffi', '/srv/sampan/bin/sampan.ts', 'role'];
const plain = { instance: 'staging', environmentFile: '/var/lib/sampan-staging/environment', canBackOff: false };

for (const role of ['server', 'agent']) {
  test(`the unit of ${role}`, () => {
    matchesGolden(
      join(import.meta.dirname, 'testdata', `unit-${role}.service`),
      unitText({ ...plain, role, command: [...command, role, '--data', '/var/lib/sampan-staging'] }),
    );
  });
}

test('a unit with signs that mean something to systemd', () => {
  matchesGolden(
    join(import.meta.dirname, 'testdata', 'unit-settings.service'),
    unitText({
      ...plain,
      role: 'platform',
      command: [...command, 'platform', '--data', '/srv/a "b" 100% $HOME\\x'],
      environmentFile: '/srv/100%/environment',
      canBackOff: true,
    }),
  );
});

test('settings of the network, quoted for systemd; nothing else is taken along', () => {
  const settings = networkSettings({
    https_proxy: 'http://user:5"0%25$@proxy.example:3128',
    NO_PROXY: 'localhost,.example',
    NODE_EXTRA_CA_CERTS: '/etc/ssl/own ca\\.pem',
    npm_config_registry: 'https://npm.example/',
    HOME: '/root',
    AWS_SECRET_ACCESS_KEY: 'secret',
  });
  matchesGolden(join(import.meta.dirname, 'testdata', 'unit-environment.txt'), environmentText(settings));
});

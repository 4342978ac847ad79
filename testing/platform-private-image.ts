/** An image of a registry that asks for a login, pushed as an app of a running platform. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { busyboxLayer, writeOciLayout } from './oci-layout.ts';
import { startPeerRegistry } from './peer-registry.ts';
import { finish, type TestPlatform, until } from './platform.ts';

export async function checkPrivateImage(platform: TestPlatform): Promise<void> {
  await using registry = await startPeerRegistry({});
  const layout = join(platform.directory, 'private-image');
  const config = { Cmd: ['/bin/httpd', '-f', '-p', '8080', '-h', '/etc'], ExposedPorts: { '8080/tcp': {} } };
  await writeOciLayout(layout, { tag: 'v1', layers: [await busyboxLayer()], config });
  const image = `${registry.host}/team/web:v1`;
  const copy = [
    'copy',
    '--dest-creds',
    'ann:secret',
    '--dest-tls-verify=false',
    `oci:${layout}:v1`,
    `docker://${image}`,
  ];
  const copied = await finish('skopeo', copy, { env: process.env });
  assert.equal(copied.code, 0, copied.stderr);
  const [program = '', ...words] = platform.command('push', 'private', '-o', image, '-m', '32M', '-k', '64M');
  const env = { ...platform.environment, CF_DOCKER_PASSWORD: 'secret' };
  const pushed = await finish(program, [...words, '--docker-username', 'ann'], { env });
  assert.equal(pushed.code, 0, `${pushed.stdout}\n${pushed.stderr}\n${platform.logTail()}`);
  const host = platform.host('private');
  await until('an answer', async () => (await platform.ask(host, { path: '/passwd' })).body.startsWith('root:'));
  await platform.must('delete', 'private', '-f', '-r');
}

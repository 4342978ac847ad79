/** A new version of the app `talk`, which runs: what is stored, what is built, and who notices. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { finish, Load, type TestPlatform } from './platform.ts';
import { talkativeApp, writeApp } from './sample-apps.ts';

export async function checkSecondPush(platform: TestPlatform, directory: string): Promise<void> {
  const repository = async (): Promise<string[]> => {
    const { image } = await platform.mustJson<{ image: string }>('app', 'talk');
    const password = readFileSync(join(platform.dataDirectory, 'admin-password'), 'utf8').trim();
    const result = await finish('skopeo', ['inspect', '--creds', `admin:${password}`, `docker://${image}`], {
      env: { ...process.env, SSL_CERT_FILE: join(platform.dataDirectory, 'pki', 'ca.crt') },
    });
    return (JSON.parse(result.stdout) as { Layers: string[] }).Layers;
  };
  const before = await repository();
  writeApp(directory, talkativeApp('two'));
  const load = new Load(platform, platform.host('talk'));
  const push = () =>
    platform.sampan('push', 'talk', '-p', directory, '-m', '128M', '-k', '128M', '--strategy', 'rolling');
  const pushed = await push();
  await load.stop();
  assert.equal(pushed.code, 0, pushed.stderr);
  assert.match(`${pushed.stdout}${pushed.stderr}`, /Nothing that they look at has changed/, 'no container was needed');
  assert.deepEqual(load.failures, [], 'a new version under load fails no request');
  assert.equal((JSON.parse((await platform.ask(platform.host('talk'))).body) as { version: string }).version, 'two');
  const now = await repository();
  assert.equal(
    now.filter((layer) => !before.includes(layer)).length,
    1,
    `only the app layer is new: ${before.join(' ')} -> ${now.join(' ')}`,
  );
  const file = JSON.parse(talkativeApp('two')['package.json'] ?? '') as { scripts: Record<string, string> };
  file.scripts['start'] = 'COLOR=green node server.js';
  writeApp(directory, { ...talkativeApp('two'), 'package.json': JSON.stringify(file) });
  const built = await push();
  assert.doesNotMatch(`${built.stdout}${built.stderr}`, /Nothing that they look at/, 'package.json is read');
  const said = await platform.ask(platform.host('talk'), { path: '/identity' });
  assert.equal((JSON.parse(said.body) as { env: Record<string, string> }).env['COLOR'], 'green');
  const bill = JSON.parse(await platform.must('sbom', 'talk')) as { components: { name: string; version: string }[] };
  const node = bill.components.find(({ name }) => name === 'node');
  assert.equal(node?.version, process.versions.node);
  assert.ok(bill.components.some(({ name }) => name === 'libc6'));
}

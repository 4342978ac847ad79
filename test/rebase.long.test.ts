/** Another stack below apps that run: made anew by the platform, and patched by the test. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { createGunzip } from 'node:zlib';
import { readTar } from '#lib/tar/read.ts';
import { type TarInput, writeTar } from '#lib/tar/write.ts';
import { BUILDER_REPOSITORY, type Builder } from '#platform/staging/builder/builder.ts';
import { fileEntry } from '#platform/staging/images/entries.ts';
import type { ImageConfigFile, Layer } from '#platform/staging/images/oci.ts';
import { pushLayer } from '#platform/staging/images/push-layer.ts';
import { RegistryClient } from '#platform/staging/images/registry-client.ts';
import { writeImage } from '#platform/staging/images/single-layer.ts';
import { CloudApi } from '#testing/cloud-api.ts';
import { Load, TestPlatform, until } from '#testing/platform.ts';
import { talkativeApp, writeApp } from '#testing/sample-apps.ts';

const platform = new TestPlatform('rebase');
const LABEL = 'dev.sampan.builder';

/** A stack with one more file, as the platform will find it when it is started again. */
async function patchStack(): Promise<void> {
  const { ports } = platform.instance;
  const secrets = JSON.parse(readFileSync(join(platform.dataDirectory, 'secrets.json'), 'utf8')) as {
    registry: { platform: string };
  };
  const registry = new RegistryClient({
    host: `127.0.0.1:${ports.registry}`,
    ca: readFileSync(join(platform.dataDirectory, 'pki', 'ca.crt'), 'utf8'),
    username: 'platform',
    password: secrets.registry.platform,
  });
  const [hash = ''] = await registry.tags(BUILDER_REPOSITORY);
  const image = await registry.getImage<ImageConfigFile>(BUILDER_REPOSITORY, hash);
  const builder = JSON.parse(image?.config.config.Labels?.[LABEL] ?? '') as Builder;
  const packed = (await registry.readBlob(BUILDER_REPOSITORY, builder.stack.digest)) ?? assert.fail('no stack');
  const stack = await pushLayer(registry, BUILDER_REPOSITORY, writeTar(patched(packed.pipe(createGunzip()))));
  const base = { ...builder.base, edition: 'patched', packages: { ...builder.base.packages, libc6: '99.9' } };
  const changed: Builder = { ...builder, stack, base };
  const layers: Layer[] = [stack, ...builder.seeds.map(({ layer }) => layer), builder.lifecycle];
  const run = { ...image?.config.config, Labels: { [LABEL]: JSON.stringify(changed) } };
  await writeImage(registry, BUILDER_REPOSITORY, hash, { architecture: builder.architecture, layers, run });
  registry.close();
}

async function* patched(tar: AsyncIterable<Buffer>): AsyncGenerator<TarInput> {
  for await (const entry of readTar(tar, { encoding: 'latin1' })) {
    const { name, type, mode, uid, gid, sizeBytes, mtimeSeconds, linkName } = entry;
    const header = { name, type, mode, uid, gid, mtimeSeconds };
    if (type === 'file') yield { ...header, sizeBytes, data: entry.data() };
    else yield { ...header, sizeBytes: 0, ...(linkName === undefined ? {} : { linkName }) };
  }
  yield fileEntry('etc/patched', 'yes\n');
}

describe('rebase', { concurrency: 1, timeout: 1_800_000 }, () => {
  before(async () => {
    await platform.must('up');
    writeApp(join(platform.directory, 'app'), talkativeApp('one'));
    await platform.must('push', 'steady', '-p', join(platform.directory, 'app'), '-m', '128M', '-i', '2');
    await platform.must('push', 'still', '-p', join(platform.directory, 'app'), '-m', '128M', '--no-start');
  });
  after(() => platform.purge());

  /** Everything that was printed. */
  const told = async (...words: string[]): Promise<string> => {
    const { code, stdout, stderr } = await platform.sampan(...words);
    assert.equal(code, 0, `${stdout}\n${stderr}\n${platform.logTail()}`);
    return `${stdout}\n${stderr}`;
  };

  const inPods = async (...command: string[]) => {
    const selector = [
      '-n',
      'default-dev',
      '-l',
      'platform.sampan.dev/app-name=steady',
      '--field-selector',
      'status.phase=Running',
    ];
    const names = (await platform.mustKubectl('get', 'pods', ...selector, '-o', 'name')).trim().split('\n');
    return await Promise.all(
      names.map((name) => platform.kubectl('exec', '-n', 'default-dev', name, '--', ...command)),
    );
  };

  test('the platform makes its stack anew, and apps on what is the same are left alone', async () => {
    assert.match(await told('update-stack'), /is made/);
    // Debian may have published something in between, which is no fault.
    assert.match(await told('rebase', 'steady'), /is on the newest stack/);
  });

  test('a patched stack comes below what runs, without a build and without a request lost', async () => {
    await patchStack();
    const pid = Number(readFileSync(join(platform.instance.runDirectory, 'platform.pid'), 'utf8'));
    process.kill(pid, 'SIGKILL');
    await until('the platform to be back', async () => (await platform.sampan('apps')).code === 0, 120);
    const load = new Load(platform, platform.host('steady'));
    const said = await told('rebase', '--all');
    await load.stop();
    assert.deepEqual(load.failures, []);
    assert.doesNotMatch(said, /----->|Node\.js/);
    await until('the old instances to have gone', async () => {
      const all = await inPods('cat', '/etc/patched');
      return all.length === 2 && all.every(({ stdout }) => stdout === 'yes\n');
    });
    assert.match(await platform.must('sbom', 'steady'), /"name":\s*"libc6",\s*"version":\s*"99\.9"/);
    assert.match(await told('rebase', 'steady'), /steady is on the newest stack\./);
  });

  test('the old image is there for a rollback', async () => {
    const api = new CloudApi(platform);
    const app = await api.guidOf('apps', 'steady');
    type Revisions = { resources: { guid: string; version: number }[] };
    const { body } = await api.call<Revisions>('GET', `/v3/apps/${app}/revisions`);
    const [first] = body.resources.toSorted((left, right) => left.version - right.version);
    await api.call('POST', '/v3/deployments', {
      revision: { guid: first?.guid },
      relationships: { app: { data: { guid: app } } },
    });
    await until(
      'the old stack',
      async () => {
        const all = await inPods('cat', '/etc/patched');
        return all.length === 2 && all.every(({ code }) => code !== 0);
      },
      120,
    );
  });
});

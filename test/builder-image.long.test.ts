/** Apps built by a builder image that another registry has, whose C library is none: pushed by our own client and by the stock `cf`. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { writeTar } from '#lib/tar/write.ts';
import { linkEntry } from '#platform/staging/images/entries.ts';
import { builderEntries, builderLabels } from '#testing/builder-image-suite.ts';
import { Cf, findCf } from '#testing/cf.ts';
import { busyboxLayer, writeOciLayout } from '#testing/oci-layout.ts';
import { type PeerRegistry, startPeerRegistry } from '#testing/peer-registry.ts';
import { finish, TestPlatform } from '#testing/platform.ts';
import { writeApp } from '#testing/sample-apps.ts';

const platform = new TestPlatform('builder');
const program = findCf();
const LOGIN = ({ host }: PeerRegistry) => JSON.stringify({ [host]: { username: 'ann', password: 'secret' } });
const SERVE =
  'mkdir -p /tmp/www && echo "$WORDS from $(id -u)" >/tmp/www/index.html && exec httpd -f -p $PORT -h /tmp/www';

describe('a builder image of another registry', { concurrency: 1, timeout: 900_000 }, () => {
  let registry: PeerRegistry;
  /** Asks for a login. */
  let closed: PeerRegistry;
  let builder = '';
  let closedBuilder = '';
  let source = '';

  before(async () => {
    registry = await startPeerRegistry({ isOpen: true });
    closed = await startPeerRegistry({});
    await platform.must('up', '--allow-outbound', '127.0.0.1/32');
    const layout = join(platform.directory, 'layout');
    const bytes = async (entries: Parameters<typeof writeTar>[0]) =>
      Buffer.concat(await Array.fromAsync(writeTar(entries)));
    const commands = await bytes(['mkdir', 'grep', 'rm'].map((name) => linkEntry(`bin/${name}`, 'busybox')));
    const below = [await busyboxLayer(), commands];
    const run = `${registry.host}/test/run:1`;
    builder = `${registry.host}/test/builder:1`;
    const closedRun = `${closed.host}/test/run:1`;
    closedBuilder = `${closed.host}/test/builder:1`;
    const Env = ['PATH=/bin'];
    const images = [
      { tag: 'run', layers: below, config: { Env, Labels: { 'io.buildpacks.stack.id': 'test.stack' } }, to: run },
      {
        tag: 'builder',
        layers: [...below, await bytes(builderEntries(SERVE))],
        config: { Env, Labels: builderLabels(run) },
        to: builder,
      },
    ];
    const private_ = images.map((image) =>
      image.tag === 'run'
        ? { ...image, to: closedRun }
        : { ...image, config: { Env, Labels: builderLabels(closedRun) }, to: closedBuilder },
    );
    for (const { to, ...image } of [...images, ...private_]) {
      await writeOciLayout(layout, image);
      const login = to.startsWith(closed.host) ? ['--dest-creds', 'ann:secret'] : [];
      const words = ['copy', ...login, '--dest-tls-verify=false', `oci:${layout}:${image.tag}`, `docker://${to}`];
      const copied = await finish('skopeo', words, { env: process.env });
      assert.equal(copied.code, 0, copied.stderr);
    }
    source = writeApp(join(platform.directory, 'words'), { 'words.txt': 'by a builder' });
  });
  after(async () => {
    await platform.purge();
    await registry[Symbol.asyncDispose]();
    await closed[Symbol.asyncDispose]();
  });

  test('sampan push --builder', async () => {
    const { code, stdout, stderr } = await platform.sampan(
      'push',
      'own',
      '-p',
      source,
      '-m',
      '64M',
      '--builder',
      builder,
    );
    assert.equal(code, 0, `${stdout}\n${stderr}\n${platform.logTail()}`);
    assert.match(`${stdout}${stderr}`, /pulling .*\/test\/builder:1[^]*test\/words 2\.0\.0, test\/serve 1\.0\.0/);
    assert.equal((await platform.ask(platform.host('own'))).body, 'by a builder from 1000\n');
    assert.match(await platform.must('app', 'own'), /buildpacks: +test\/words 2\.0\.0, test\/serve 1\.0\.0/);
  });

  test('what does not fit is said', async () => {
    const empty = writeApp(join(platform.directory, 'nothing'), { 'other.txt': '' });
    const { code, stdout, stderr } = await platform.sampan('push', 'none', '-p', empty, '--builder', builder);
    assert.notEqual(code, 0);
    assert.match(`${stdout}${stderr}`, /no buildpack of the builder .*test\/builder:1 fits the source/);
  });

  test('a builder and a run image that take a login', async () => {
    const push = async (name: string, login: Record<string, string>) => {
      const [command = '', ...words] = platform.command(
        'push',
        name,
        '-p',
        source,
        '-m',
        '64M',
        '--builder',
        closedBuilder,
      );
      return await finish(command, words, { env: { ...platform.environment, ...login } });
    };
    const refused = await push('closed', {});
    assert.notEqual(refused.code, 0);
    assert.match(`${refused.stdout}${refused.stderr}`, /does not give image .*give a login in CF_CNB_REGISTRY_CREDS/);
    const { code, stdout, stderr } = await push('closed', { CF_CNB_REGISTRY_CREDS: LOGIN(closed) });
    assert.equal(code, 0, `${stdout}\n${stderr}\n${platform.logTail()}`);
    assert.equal((await platform.ask(platform.host('closed'))).body, 'by a builder from 1000\n');
    // The app has its login from then on, and no other app does.
    const again = await push('closed', {});
    assert.equal(again.code, 0, `${again.stdout}\n${again.stderr}`);
    assert.notEqual((await push('other', {})).code, 0);
  });

  test('cf push --lifecycle cnb -b docker://…', {
    skip: program === undefined && 'cf is not on the PATH',
  }, async () => {
    const admin = new Cf(platform, program ?? '', 'admin');
    await admin.login('admin', readFileSync(join(platform.dataDirectory, 'admin-password'), 'utf8').trim());
    await admin.must('target', '-o', 'default', '-s', 'dev');
    for (const [name, lifecycle] of [
      ['cnb', ['--lifecycle', 'cnb']],
      ['plain', []],
    ] as const) {
      await admin.must('push', name, '-p', source, '-m', '64M', ...lifecycle, '-b', `docker://${builder}`);
      assert.equal((await platform.ask(platform.host(name))).body, 'by a builder from 1000\n');
      assert.match(await admin.must('app', name), /2\.0\.0 +test\/words/);
    }
    const environment = { CF_CNB_REGISTRY_CREDS: LOGIN(closed) };
    const words = [
      'push',
      'cnb-closed',
      '-p',
      source,
      '-m',
      '64M',
      '--lifecycle',
      'cnb',
      '-b',
      `docker://${closedBuilder}`,
    ];
    const pushed = await admin.run(words, { environment });
    assert.equal(pushed.code, 0, `${pushed.stdout}\n${pushed.stderr}`);
    assert.doesNotMatch(`${pushed.stdout}${pushed.stderr}`, /secret/);
    assert.equal((await platform.ask(platform.host('cnb-closed'))).body, 'by a builder from 1000\n');
    // What was made is known by its own name, and made again by it.
    const manifest = join(platform.directory, 'manifest.yml');
    await admin.must('create-app-manifest', 'cnb', '-p', manifest);
    assert.match(readFileSync(manifest, 'utf8'), /lifecycle: cnb/);
    await admin.must('restage', 'cnb');
    assert.equal((await platform.ask(platform.host('cnb'))).body, 'by a builder from 1000\n');
  });
});

/** The example with a Dockerfile, on a Debian of the test's own making, and what it says of an app's second push. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { parse } from 'yaml';
import { hostSuite } from '#platform/staging/stack/apt-sources.ts';
import { startPeerRegistry, type PeerRegistry } from '#testing/peer-registry.ts';
import { Cf, findCf } from '#testing/cf.ts';
import { checkBadDockerfiles } from '#testing/platform-dockerfile.ts';
import { TestPlatform } from '#testing/platform.ts';
import { writeApp } from '#testing/sample-apps.ts';

const platform = new TestPlatform('dockerfile');
const example = join(import.meta.dirname, '..', 'examples', 'dockerfile-apt');
const NAME = 'dockerfile-apt';
const program = findCf();

describe('the example with a Dockerfile', { concurrency: 1, timeout: 1_800_000 }, () => {
  let registry: PeerRegistry;
  let base = '';
  let manifest = '';

  before(async () => {
    registry = await startPeerRegistry({ isOpen: true });
    await platform.must('up');
    base = `${registry.host}/library/debian:test`;
    const directory = mkdtempSync(join(tmpdir(), 'debian-base-'));
    const archive = join(directory, 'debian.tar');
    execFileSync('mmdebstrap', ['--quiet', '--variant=apt', await hostSuite(), archive]);
    for (const words of [
      ['import', archive, base],
      ['push', base],
      ['rmi', base],
    ]) {
      const { code, stderr } = await platform.docker(...words);
      assert.equal(code, 0, stderr);
    }
    rmSync(directory, { recursive: true });
    const { applications } = parse(readFileSync(join(example, 'manifest.yml'), 'utf8')) as { applications: object[] };
    const own = applications.map((application) => ({ ...application, env: { BASE: base } }));
    manifest = join(platform.directory, 'manifest.yml');
    writeFileSync(manifest, JSON.stringify({ applications: own }));
  });
  after(async () => {
    await platform.purge();
    await registry[Symbol.asyncDispose]();
  });

  const push = async (): Promise<string> => {
    const { code, stdout, stderr } = await platform.sampan('push', '-p', example, '-f', manifest);
    assert.equal(code, 0, `${stdout}\n${stderr}\n${platform.logTail()}`);
    return `${stdout}\n${stderr}`;
  };

  test('its packages are installed, and it draws its own address', async () => {
    assert.match(await push(), /Setting up python3-qrcode/);
    const { body, headers } = await platform.ask(platform.host(NAME));
    assert.equal(headers['content-type'], 'image/svg+xml; charset=utf-8');
    assert.match(body, /<path d="M/);
  });

  test('a second push takes its steps from the cache', async () => {
    const said = await push();
    assert.equal(said.match(/Using cache/g)?.length, 6);
    assert.doesNotMatch(said, /Setting up/);
  });
  test('a Dockerfile that is wrong, and a build that is cancelled', () => checkBadDockerfiles(platform));

  test('cf push -b dockerfile', { skip: program === undefined && 'cf is not on the PATH' }, async () => {
    const admin = new Cf(platform, program ?? '', 'admin');
    await admin.login('admin', readFileSync(join(platform.dataDirectory, 'admin-password'), 'utf8').trim());
    await admin.must('target', '-o', 'default', '-s', 'dev');
    const dockerfile = 'ARG SAMPAN_STACK\nFROM $SAMPAN_STACK\nCOPY index.html /site/\nEXPOSE 3000\n';
    const run = 'CMD ["busybox", "httpd", "-f", "-p", "3000", "-h", "/site"]\n';
    const source = writeApp(join(platform.directory, 'site'), {
      'index.html': 'by a Dockerfile',
      'web/Dockerfile': dockerfile + run,
    });
    assert.match(await admin.must('buildpacks'), /^\d+ +dockerfile /m);
    await admin.must('push', 'site', '-p', source, '-m', '64M', '-b', 'dockerfile:web/Dockerfile');
    assert.equal((await platform.ask(platform.host('site'))).body, 'by a Dockerfile');
    assert.match(await admin.must('app', 'site'), /Dockerfile/);
    await admin.must('update-buildpack', 'dockerfile', '--disable');
    assert.match(await admin.refused('push', 'other', '-p', source, '-b', 'dockerfile'), /must be an existing admin/);
  });
});

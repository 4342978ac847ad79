/** PHP through the real runtime and buildpack. Packages come from a server of the test's own: Debian has their code. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { debianFiles } from '#testing/debian-files.ts';
import { serveFiles } from '#testing/file-server.ts';
import { example, filesBelow, refuses } from '#testing/language-apps.ts';
import { openStagingBed, type StagingBed } from '#testing/staging-bed.ts';

let bench: StagingBed;
let archive: Buffer;

before(async () => {
  bench = await openStagingBed();
  using debian = debianFiles(['php-nikic-fast-route']);
  const code = Object.entries(
    filesBelow(join(debian.directory, 'php-nikic-fast-route', 'usr', 'share', 'php', 'FastRoute')),
  );
  // As the archive of a repository: everything is below one directory.
  const files = code.map(([path, content]): [string, Buffer] => [`FastRoute-1.3.0/src/${path}`, content]);
  archive = readFileSync(bench.zip(Object.fromEntries(files)));
});

after(() => bench[Symbol.asyncDispose]());

/** The example, with another place of its package: that of `composer.lock` is not reached from every network. */
function fastRoute(url: string, sha1: string): Record<string, string> {
  const files = example('php-fastroute');
  const project = JSON.parse(files['composer.json'] ?? '') as Record<string, unknown>;
  const lock = JSON.parse(files['composer.lock'] ?? '') as { packages: { dist: Record<string, string> }[] };
  for (const { dist } of lock.packages) Object.assign(dist, { url, shasum: sha1 });
  return {
    ...files,
    'composer.json': JSON.stringify({ ...project, config: { 'secure-http': false } }),
    'composer.lock': JSON.stringify(lock),
  };
}

test('PHP: packages by composer.lock in a layer that the next push uses again, pages in public, nothing of the rest', async () => {
  const sha1 = createHash('sha1').update(archive).digest('hex');
  let files: Record<string, string>;
  let digest: string;
  {
    await using server = await serveFiles({ '/fast-route.zip': archive });
    files = { ...fastRoute(`${server.url}fast-route.zip`, sha1), 'secret.txt': 'x' };
    const first = await bench.stage('php', files);
    assert.match(first.output, /composer\.json: require\.php >=8\.1: PHP 8\./);
    assert.doesNotMatch(first.output, /not up to date/, 'the lock is that of composer.json');
    assert.ok(first.stored.includes('storing layer sampan/php:vendor'), first.stored.join());
    assert.ok(first.exported.components.some(({ purl }) => purl === 'pkg:composer/nikic/fast-route@v1.3.0'));
    digest = first.exported.digest;
    const wrong = (files['composer.lock'] ?? '').replace(sha1, '0'.repeat(40));
    await refuses(bench, 'wrong', { ...files, 'composer.lock': wrong }, /the command above failed \(composer install/);
  }
  assert.match((await bench.ask('php')).body, /^Hello from PHP 8\./);
  const up = await bench.ask('php', '/up/%C3%BCber?a=b');
  assert.deepEqual([up.status, up.body, up.headers['content-type']], [200, '{"up":"\\u00dcBER"}', 'application/json']);
  assert.equal((await bench.ask('php', '/none')).status, 404);
  assert.match(String((await bench.ask('php', '/style.css')).headers['content-type']), /text\/css/);
  assert.equal((await bench.ask('php', '/../secret.txt')).status, 400);
  // The server is gone.
  const again = await bench.stage('php', files);
  assert.match(again.output, /unchanged: taking those of the last build/);
  assert.equal(again.exported.digest, digest);
  const moved = (files['src/Greeting.php'] ?? '')
    .replace('Hello', 'Greetings')
    .replace('class Greeting', 'class Words');
  const index = (files['public/index.php'] ?? '').replaceAll('Greeting', 'Words');
  const others = Object.fromEntries(Object.entries(files).filter(([name]) => name !== 'src/Greeting.php'));
  await bench.stage('php', { ...others, 'src/Words.php': moved, 'public/index.php': index });
  assert.match((await bench.ask('php')).body, /^Greetings from PHP 8\./);
});

test('PHP: pages without Composer, with sessions, extensions and settings of the source', async () => {
  const page = `<?php
session_start();
$_SESSION['seen'] = true;
echo json_encode([
  'session' => session_write_close(),
  'extensions' => array_map('extension_loaded', ['curl', 'gd', 'intl', 'mysqli', 'pdo_mysql', 'pdo_pgsql', 'pdo_sqlite', 'zip', 'Zend OPcache']),
  'own' => ini_get('precision'),
  'shown' => ini_get('display_errors'),
]);
`;
  const files = {
    'index.php': page,
    'composer.lock': '{}',
    '.php.ini.d/own.ini': 'precision = 5\n',
    '.env': 'SECRET=x',
    'fails.php': '<?php throw new Exception("it failed");',
    'slow.php': '<?php usleep(300000); echo "slow";',
  };
  await bench.stage('page', files);
  const { body } = await bench.ask('page');
  assert.deepEqual(JSON.parse(body), { session: true, extensions: Array(9).fill(true), own: '5', shown: '' });
  for (const hidden of ['/composer.lock', '/.env', '/.php.ini.d/own.ini', '/none.php'])
    assert.equal((await bench.ask('page', hidden)).status, 404, hidden);
  const failed = await bench.ask('page', '/fails.php');
  assert.equal(failed.status, 500);
  assert.doesNotMatch(failed.body, /it failed/);
  const small = { MEMORY_LIMIT: '64m' };
  assert.equal((await bench.ask('page', '/slow.php', [], small)).body, 'slow');
});

test('PHP: scripts of Composer run in every build, packages that were pushed are taken, and what cannot be had', async () => {
  const project = { scripts: { 'post-install-cmd': 'echo made > made.txt' } };
  const lock = { packages: [], 'packages-dev': [], 'plugin-api-version': '2.3.0' };
  const files = {
    'composer.json': JSON.stringify(project),
    'composer.lock': JSON.stringify(lock),
    'index.php': '<?= trim(file_get_contents("made.txt"));',
  };
  for (const round of [1, 2]) {
    const { output } = await bench.stage('scripts', files);
    assert.equal(/unchanged/.test(output), round === 2);
    assert.equal((await bench.ask('scripts')).body, 'made');
  }
  const vendored = { ...files, 'vendor/autoload.php': '<?php const WORD = "vendored";' };
  const page = '<?php require "vendor/autoload.php"; echo WORD;';
  const { output } = await bench.stage('vendored', { ...vendored, 'index.php': page });
  assert.match(output, /taking the directory vendor of the source/);
  assert.equal((await bench.ask('vendored')).body, 'vendored');
  const requiring = (name: string, version: string) => ({
    'composer.json': JSON.stringify({ require: { [name]: version }, repositories: [{ 'packagist.org': false }] }),
    'index.php': '',
  });
  await refuses(
    bench,
    'refused',
    requiring('php', '^7.4'),
    /composer\.json: require\.php asks for PHP "\^7\.4", which cannot be had; there is PHP 8\.\S+; write \^8\.\d there/,
  );
  await refuses(
    bench,
    'refused',
    requiring('ext-none', '*'),
    /ext-none[\s\S]*the command above failed \(composer install/,
  );
});

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { writeApp } from '#testing/sample-apps.ts';
import { installedPackages, vendorDirectory } from './composer.ts';
import { webDirectory } from './server.ts';
import { extensionSettings } from './settings.ts';

const root = mkdtempSync(join(tmpdir(), 'php-'));
after(() => rmSync(root, { recursive: true }));

test('extensions in the order in which they need each other', () => {
  const share = writeApp(join(root, 'share'), {
    'php8.2-mysql/mysql/mysqli.ini': '; priority=20\nextension=mysqli.so\n',
    'php8.2-mysql/mysql/mysqlnd.ini': '; priority=10\nextension=mysqlnd.so\n',
    'php8.2-curl/curl/curl.ini': 'extension=curl.so\n',
    'php8.2-xdebug/xdebug/xdebug.ini': 'zend_extension=xdebug.so\n',
    'php8.4-gd/gd/gd.ini': 'extension=gd.so\n',
  });
  const loaded = extensionSettings(share, '8.2')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith(';'));
  assert.deepEqual(loaded, ['extension=mysqlnd.so', 'extension=curl.so', 'extension=mysqli.so']);
});

test('where the pages are', () => {
  assert.equal(webDirectory({}, writeApp(join(root, 'plain'), { 'index.php': '' })), '');
  const laravel = writeApp(join(root, 'laravel'), {
    'public/index.php': '',
    'pages/a/b.html': '',
    'htdocs/c.html': '',
  });
  assert.equal(webDirectory({}, laravel), 'public');
  assert.equal(webDirectory({ BP_PHP_WEB_DIR: './pages/' }, laravel), 'pages');
  assert.equal(webDirectory({ BP_PHP_WEB_DIR: '/pages/a' }, laravel), 'pages/a');
  assert.equal(webDirectory({ BP_PHP_WEB_DIR: '' }, laravel), 'public');
  for (const wrong of ['none', '../laravel/pages', 'pages; autoindex on', 'pages/..'])
    assert.throws(() => webDirectory({ BP_PHP_WEB_DIR: wrong }, laravel), /BP_PHP_WEB_DIR: .* is no directory/, wrong);
});

test('where packages go', () => {
  assert.equal(vendorDirectory({}, {}), 'vendor');
  assert.equal(vendorDirectory({ config: { 'vendor-dir': './lib/vendor/' } }, {}), 'lib/vendor');
  assert.equal(vendorDirectory({ config: { 'vendor-dir': 'lib' } }, { COMPOSER_VENDOR_DIR: 'packages' }), 'packages');
  for (const wrong of ['/usr/share', '../up', '$HOME/vendor'])
    assert.throws(() => vendorDirectory({ config: { 'vendor-dir': wrong } }, {}), /config\.vendor-dir/, wrong);
});

test('what Composer installed, by its own note', () => {
  const note = { packages: [{ name: 'nikic/fast-route', version: 'v1.3.0' }, { name: 'acme/dev' }] };
  const vendor = writeApp(join(root, 'vendor'), { 'composer/installed.json': JSON.stringify(note) });
  const purls = installedPackages(vendor).map(({ purl }) => purl);
  assert.deepEqual(purls, ['pkg:composer/nikic/fast-route@v1.3.0']);
  assert.deepEqual(installedPackages(join(root, 'none')), []);
});

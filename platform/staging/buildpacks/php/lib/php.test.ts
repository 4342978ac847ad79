import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { writeApp } from '#testing/sample-apps.ts';
import { extensionSettings } from './extensions.ts';
import { webDirectory } from './server.ts';

const root = mkdtempSync(join(tmpdir(), 'php-'));
after(() => rmSync(root, { recursive: true }));

test('extensions in the order in which they need each other', () => {
  const directory = writeApp(join(root, 'mods'), {
    'mysqli.ini': '; priority=20\nextension=mysqli.so\n',
    'mysqlnd.ini': '; priority=10\nextension=mysqlnd.so\n',
    'curl.ini': 'extension=curl.so\n',
    'xdebug.ini': 'zend_extension=xdebug.so\n',
    README: '',
  });
  const loaded = extensionSettings(directory)
    .split('\n')
    .filter((line) => !line.startsWith(';'));
  assert.deepEqual(loaded, ['extension=mysqlnd.so', 'extension=curl.so', 'extension=mysqli.so']);
});

test('where the pages are', () => {
  assert.equal(webDirectory({}, writeApp(join(root, 'plain'), { 'index.php': '' })), '');
  const laravel = writeApp(join(root, 'laravel'), { 'public/index.php': '', 'htdocs/index.html': '' });
  assert.equal(webDirectory({}, laravel), 'public');
  assert.equal(webDirectory({ BP_PHP_WEB_DIR: './pages/' }, laravel), 'pages');
  assert.equal(webDirectory({ BP_PHP_WEB_DIR: '' }, laravel), 'public');
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { siteConfiguration } from './nginx.ts';
import { parseStaticfile, StaticfileError } from './staticfile.ts';

test('settings are read', () => {
  const site = parseStaticfile(
    '---\nroot: ./dist/\npushstate: enabled\nforce_https: true\nstatus_codes:\n  404: /missing.html\nssi: off\n',
  );
  assert.equal(site.root, 'dist');
  assert.deepEqual([site.pushState, site.forceHttps, site.serverSideIncludes], [true, true, false]);
  assert.deepEqual([...site.statusPages], [['404', '/missing.html']]);
  const configuration = siteConfiguration(site, '/workspace', '/mime.types');
  for (const line of ['root /workspace/dist;', 'try_files $uri $uri/ /index.html;', 'error_page 404 /missing.html;']) {
    assert.ok(configuration.includes(line), line);
  }
});

test('what could break out of the configuration is refused', () => {
  for (const text of [
    'root: ../up',
    'root: /etc',
    'root: a; b',
    'root: "a b"',
    'status_codes:\n  404: /a;b',
    'nonsense',
    'unknown: 1',
  ]) {
    assert.throws(() => parseStaticfile(text), StaticfileError, text);
  }
});

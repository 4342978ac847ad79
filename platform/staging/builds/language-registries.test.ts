import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { mkdtempSync, rmSync } from 'node:fs';
import { writeApp } from '#testing/sample-apps.ts';
import { hostEnvironment } from './host-environment.ts';
import { languageRegistries, registryAddresses } from './language-registries.ts';

const home = mkdtempSync(join(tmpdir(), 'registries-'));
after(() => rmSync(home, { recursive: true }));

test("registries come from the tools' own files, and from variables before them", () => {
  writeApp(home, {
    '.config/pip/pip.conf': '[global]\nindex-url = https://pypi.example/simple\n',
    '.config/go/env': 'GOTOOLCHAIN=local\nGOPROXY=https://go.example,direct\n',
    '.m2/settings.xml':
      '<settings><mirrors><mirror><mirrorOf>other</mirrorOf><url>https://no.example</url></mirror><mirror><id>m</id><mirrorOf>*</mirrorOf><url>https://maven.example/repo</url></mirror></mirrors></settings>',
    '.bundle/config': '---\nBUNDLE_JOBS: "2"\nBUNDLE_MIRROR__HTTPS://RUBYGEMS__ORG/: "https://gems.example/"\n',
    '.config/composer/config.json':
      '{"config": {}, "repositories": {"packagist.org": {"type": "composer", "url": "https:\\/\\/php.example"}}}',
  });
  const found = languageRegistries({ GOPROXY: 'https://other.example|direct' }, home);
  assert.equal(found['PIP_INDEX_URL'], 'https://pypi.example/simple');
  assert.equal(found['GOPROXY'], 'https://other.example|direct');
  assert.equal(found['MAVEN_MIRROR_URL'], 'https://maven.example/repo');
  assert.equal(found['RUBYGEM_MIRROR'], 'https://gems.example/');
  assert.equal(found['COMPOSER_MIRROR'], 'https://php.example');
  assert.deepEqual(registryAddresses(found), [
    'https://pypi.example/simple',
    'https://other.example',
    'https://maven.example/repo',
    'https://gems.example/',
    'https://php.example',
  ]);
  assert.equal(languageRegistries({}, home)['GOPROXY'], 'https://go.example,direct');
});

test('an address with a password stays here', () => {
  const passed = hostEnvironment({
    PIP_INDEX_URL: 'https://user:secret@pypi.example/simple',
    GOPROXY: 'https://go.example',
  });
  assert.equal(passed['PIP_INDEX_URL'], undefined);
  assert.equal(passed['GOPROXY'], 'https://go.example');
});

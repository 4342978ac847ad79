import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { hostSuite, sourcesFor } from './apt-sources.ts';

test('only the sources of the own release are taken', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'apt-'));
  try {
    mkdirSync(join(directory, 'sources.list.d'));
    const write = (name: string, content: string) => writeFileSync(join(directory, name), content);
    write(
      'sources.list',
      '# comment\ndeb [signed-by=/k.gpg arch=amd64] http://m/debian bookworm main contrib # x\ndeb http://old/debian bullseye main\n',
    );
    write(
      'sources.list.d/debian.sources',
      'Types: deb deb-src\nURIs: http://m/debian\nSuites: bookworm bookworm-updates bookworm-backports\nComponents: main\nSigned-By: /d.gpg\n\nTypes: deb\nEnabled: no\nURIs: http://off\nSuites: bookworm\nComponents: main\n',
    );
    write('sources.list.d/other.list', 'deb https://third.party/apt stable main\n');
    const sources = await sourcesFor('bookworm', directory);
    assert.equal(
      sources,
      [
        'Types: deb\nURIs: http://m/debian\nSuites: bookworm\nComponents: main\nSigned-By: /k.gpg',
        'Types: deb\nURIs: http://m/debian\nSuites: bookworm bookworm-updates\nComponents: main\nSigned-By: /d.gpg',
      ].join('\n\n'),
    );
    write('os-release', 'ID=debian\nVERSION_CODENAME=trixie\n');
    assert.equal(await hostSuite(join(directory, 'os-release')), 'trixie');
    write('os-release', 'ID=other\n');
    await assert.rejects(hostSuite(join(directory, 'os-release')), { message: /VERSION_CODENAME/ });
  } finally {
    rmSync(directory, { recursive: true });
  }
});

/** `docs/reference/security.md` is the table of the ways out that tests try, and each row names a test that is there. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { WAYS_OUT } from '#testing/escape/ways-out.ts';
import { matchesGolden } from '#testing/golden.ts';

const root = join(import.meta.dirname, '..', '..');

test('every way out is tried by a test that is there', () => {
  for (const { attack, test: place, inside } of WAYS_OUT) {
    const [file = '', name = ''] = place.split(/: (.*)/s);
    const source = readFileSync(join(root, file), 'utf8');
    assert.ok(inside === true || source.includes(name), `${attack}: ${file} has no test "${name}"`);
  }
});

test('the table is in the documents', () => {
  const rows = WAYS_OUT.map(({ attack, why, test: place }) => `| ${attack} | ${why} | \`${place}\` |`);
  const text = [
    '# Ways out of a container',
    '',
    'Made by `engine/docker-api/ways-out.test.ts` of `testing/escape/ways-out.ts`; not written by hand.',
    '',
    'Those in `escapes.test.ts` are tried by default and with SYS_ADMIN, NET_ADMIN, SYS_PTRACE, SYS_MODULE, SYS_RAWIO, SYS_TIME, SYS_RESOURCE,',
    'SYSLOG, DAC_READ_SEARCH, BPF, PERFMON and ALL. "On the host" means: the kernel asks for the capability in its first user namespace, which no',
    'container has unless the engine was started with a risk (see `docs/decisions/0009-risks-are-named-by-flags.md`). That the default is nowhere',
    'weaker than Docker’s is held by `engine/containers/docker-defaults.test.ts`.',
    '',
    '| attack | why it fails | test |',
    '| --- | --- | --- |',
    ...rows,
    '',
  ].join('\n');
  matchesGolden(join(root, 'docs/reference/security.md'), text);
});

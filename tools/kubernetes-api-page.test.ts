import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { builtinKinds } from '../cluster/kinds/builtin.ts';
import { pages, pagesOnDisk } from './kubernetes-api-page.ts';
import { fieldProblems, readFields } from './kubernetes-fields.ts';
import { kindTitle, readSupport } from './kubernetes-support.ts';

test('the pages of the Kubernetes API are what the kinds and the support data say', () => {
  assert.deepEqual(pagesOnDisk(), pages(), 'run tools/kubernetes-api-page.ts');
});

test('what is said of a kind names a test that is there, or a reason', () => {
  const known = new Set(builtinKinds.map(kindTitle));
  for (const [title, { state, test: path, why }] of Object.entries(readSupport().kinds)) {
    assert.ok(known.has(title), `${title} is no kind`);
    if (state === 'supported')
      assert.ok(path !== undefined && existsSync(join(import.meta.dirname, '..', path)), `${title}: ${path}`);
    else assert.ok(why, `${title}: why?`);
  }
});

test('something is said of every field, once, and by a test that names it', () => {
  assert.deepEqual(fieldProblems(readFields()), []);
});

test('a field that is new, one that is gone, and a test that does not know its field are found', () => {
  const table = readFields();
  const supported = table['core-v1']?.['HostAlias']?.supported ?? {};
  const [test = '', fields = []] = Object.entries(supported)[0] ?? [];
  const changed = (hostAlias: Record<string, string[]>): string[] =>
    fieldProblems({ ...table, 'core-v1': { ...table['core-v1'], HostAlias: { supported: hostAlias } } });
  assert.deepEqual(changed({ [test]: fields.filter((field) => field !== 'ip') }), [
    'core-v1 HostAlias ip: tools/kubernetes-fields/core-v1.json says nothing of it',
  ]);
  assert.deepEqual(changed({ [test]: [...fields, 'name'] }), ['core-v1 HostAlias name: there is no such field']);
  assert.deepEqual(changed({ 'tools/layers.test.ts': fields }), [
    'core-v1 HostAlias hostnames: tools/layers.test.ts does not name it',
    'core-v1 HostAlias ip: tools/layers.test.ts does not name it',
  ]);
});

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { readModules } from './imports.ts';
import { importCycles, layerViolations, rules } from './layers.ts';

const root = join(import.meta.dirname, '..');
const modules = readModules(root);

test('the scan sees the house', () => {
  assert.ok(modules.length > 100, `only ${modules.length} modules were seen`);
  assert.ok(modules.flatMap((module) => module.imports).length > 300);
});

test('every import of ours leads to a file', () => {
  const missing = modules.flatMap((module) =>
    module.imports
      .filter((edge) => edge.target && !existsSync(join(root, edge.target)))
      .map((edge) => `${module.path} -> ${edge.target}`),
  );
  assert.deepEqual(missing, []);
});

test('nobody imports what it may not', () => {
  assert.deepEqual(
    layerViolations(modules).map((violation) => `${violation.from} -> ${violation.to}: ${violation.reason}`),
    [],
  );
});

test('there are no import cycles', () => {
  assert.deepEqual(
    importCycles(modules).map((cycle) => cycle.join(' -> ')),
    [],
  );
});

test('a forbidden import is found, for each rule', () => {
  const bad: [string, string][] = [
    ['lib/a.ts', 'engine/engine.ts'],
    ['engine/a.ts', 'cluster/kinds/kind.ts'],
    ['cluster/store/a.ts', 'platform/router/model.ts'],
    ['cluster/scheduler/a.ts', 'engine/engine.ts'],
    ['cluster/node/a.ts', 'engine/containers/oci.ts'],
    ['cluster/controllers/a.ts', 'cluster/apiserver/server.ts'],
    ['cluster/apiserver/a.ts', 'cluster/controllers/controller.ts'],
    ['cluster/node/a.ts', 'cluster/store/store.ts'],
    ['platform/logs/a.ts', 'cluster/apiserver/server.ts'],
    ['cli/a.ts', 'platform/router/model.ts'],
    ['cluster/node/a.ts', 'bin/instance.ts'],
    ['engine/a.ts', 'testing/run.ts'],
  ];
  for (const [from, target] of bad) {
    const found = layerViolations([{ path: from, imports: [{ specifier: target, target, typeOnly: false }] }]);
    assert.ok(found.length > 0, `${from} -> ${target} was let through`);
  }
  assert.equal(
    rules.every((rule) => rule.reason.length > 10),
    true,
  );
});

test('a cycle is found', () => {
  const edge = (target: string) => ({ specifier: target, target, typeOnly: false });
  assert.deepEqual(
    importCycles([
      { path: 'a.ts', imports: [edge('b.ts')] },
      { path: 'b.ts', imports: [edge('a.ts')] },
    ]),
    [['a.ts', 'b.ts', 'a.ts']],
  );
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fuzzDockerfiles, fuzzIgnores } from './fuzzed.fixture.ts';

test('Dockerfiles of all kinds are read or refused', async () => {
  const report = await fuzzDockerfiles(20_000);
  assert.ok(report.outcomes > 100 && report.refused < report.inputs, JSON.stringify(report));
});

test('.dockerignore files of all kinds are read or refused', async () => {
  const report = await fuzzIgnores(20_000);
  assert.ok(report.outcomes > 10 && report.refused < report.inputs, JSON.stringify(report));
});

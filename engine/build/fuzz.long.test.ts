import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fuzzDockerfiles, fuzzIgnores } from './fuzzed.fixture.ts';

test('a million Dockerfiles are read or refused', async (context) => {
  const report = await fuzzDockerfiles(1_000_000);
  context.diagnostic(JSON.stringify(report));
  assert.ok(report.inputs >= 1_000_000 && report.outcomes > 500, JSON.stringify(report));
});

test('a million .dockerignore files are read or refused', async (context) => {
  const report = await fuzzIgnores(1_000_000);
  context.diagnostic(JSON.stringify(report));
  assert.ok(report.inputs >= 1_000_000 && report.outcomes > 20, JSON.stringify(report));
});

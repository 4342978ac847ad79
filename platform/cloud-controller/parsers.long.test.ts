/** A million inputs for each parser of what `cf push` sends. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fuzz } from '#testing/fuzz.ts';
import { pushParsers } from './parsers.fixture.ts';

for (const parser of pushParsers) {
  test(`a million ${parser.name}`, async () => {
    const report = await fuzz({ ...parser, inputs: 1_000_000 });
    assert.ok(report.inputs >= 1_000_000, JSON.stringify(report));
  });
}

import { test } from 'node:test';
import { fuzz } from '#testing/fuzz.ts';
import { IMAGE_PARSERS } from '#testing/image-parsers.ts';

for (const parser of IMAGE_PARSERS) {
  test(`${parser.name}: a million inputs`, { timeout: 3_600_000 }, async (context) => {
    const report = await fuzz({ ...parser, inputs: 1_000_000 });
    context.diagnostic(JSON.stringify(report));
  });
}

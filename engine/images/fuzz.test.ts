import { test } from 'node:test';
import { fuzz } from '#testing/fuzz.ts';
import { IMAGE_PARSERS } from '#testing/image-parsers.ts';

for (const parser of IMAGE_PARSERS) {
  test(`${parser.name}: 5,000 inputs`, async () => {
    await fuzz({ ...parser, inputs: 5000 });
  });
}

import { randomInt } from 'node:crypto';
import { test } from 'node:test';
import { fuzzDockerRequests } from '#testing/docker-request-fuzz.ts';

const COUNT = 1_000_000;

test('a million requests that no client sends are read or refused', () => {
  const seed = Number(process.env['SAMPAN_FUZZ_SEED'] ?? randomInt(2 ** 31));
  const begun = performance.now();
  const { accepted, refused } = fuzzDockerRequests(COUNT, seed);
  const seconds = ((performance.now() - begun) / 1000).toFixed(0);
  console.error(`seed ${seed}: ${accepted} accepted, ${refused} refused, in ${seconds} s`);
});

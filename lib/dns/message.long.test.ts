import { test } from 'node:test';
import { fuzzMessages } from '#testing/dns-fuzz.ts';

test('a million messages of any bytes', { timeout: 600_000 }, () => {
  fuzzMessages(1_000_000);
});

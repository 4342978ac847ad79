import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fuzzDockerRequests } from '#testing/docker-request-fuzz.ts';

test('20,000 requests that no client sends are read or refused', () => {
  const { accepted, refused } = fuzzDockerRequests(20_000, 1);
  // Both happen often, or the inputs show nothing.
  assert.ok(accepted > 1000 && refused > 1000, `${accepted} accepted, ${refused} refused`);
});

/** Some thousands of inputs for what `fuzz.long.test.ts` gives a million. */
import { after, before, describe, test } from 'node:test';
import { API_PARSERS } from '#testing/api-parsers.ts';
import { API_REQUEST_OBJECTS, apiRequests } from '#testing/api-request-fuzz.ts';
import { type ControlPlane, startControlPlane } from '#testing/control-plane.ts';
import { fuzz } from '#testing/fuzz.ts';

for (const parser of API_PARSERS) {
  test(`${parser.name}: 1,000 inputs`, async () => {
    await fuzz({ ...parser, inputs: 1000 });
  });
}

describe('API server', () => {
  let plane: ControlPlane;
  before(async () => {
    plane = await startControlPlane();
    for (const [path, body] of API_REQUEST_OBJECTS) await plane.client.request({ method: 'POST', path, body });
  });
  after(() => plane.close());

  test('2,000 requests, each answered or refused with a Status', async () => {
    await fuzz({ ...apiRequests(plane.inProcess()), inputs: 2000 });
  });
});

/** A million inputs for every parser of the API server and the cluster, and a million whole requests. */
import { after, before, describe, test } from 'node:test';
import { API_PARSERS } from '#testing/api-parsers.ts';
import { API_REQUEST_OBJECTS, apiRequests } from '#testing/api-request-fuzz.ts';
import { type ControlPlane, startControlPlane } from '#testing/control-plane.ts';
import { fuzz } from '#testing/fuzz.ts';

const timeout = 3_600_000;

for (const parser of API_PARSERS) {
  test(`${parser.name}: a million inputs`, { timeout }, async (context) => {
    context.diagnostic(JSON.stringify(await fuzz({ ...parser, inputs: 1_000_000 })));
  });
}

describe('API server', () => {
  let plane: ControlPlane;
  before(async () => {
    plane = await startControlPlane();
    for (const [path, body] of API_REQUEST_OBJECTS) await plane.client.request({ method: 'POST', path, body });
  });
  after(() => plane.close());

  test('a million requests, each answered or refused with a Status', { timeout }, async (context) => {
    context.diagnostic(JSON.stringify(await fuzz({ ...apiRequests(plane.inProcess()), inputs: 1_000_000 })));
  });
});

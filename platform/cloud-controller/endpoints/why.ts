import { type Context, type Endpoint, ok } from '../api.ts';
import { diagnose } from '../why/diagnosis.ts';
import { factsOf } from '../why/facts.ts';
import { readApp } from './apps.ts';

/** Not Cloud Foundry's: what `sampan why` shows. */
export function whyEndpoints(context: Context): Endpoint[] {
  return [
    {
      method: 'GET',
      path: '/v3/apps/:guid/why',
      auth: 'user',
      summary: 'Say why an app was restarted, moved, or does not start.',
      handle: async (request) => ok(diagnose(await factsOf(context, readApp(context, request)))),
    },
  ];
}

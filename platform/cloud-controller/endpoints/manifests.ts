import { accepted, type ApiRequest, type Context, type Endpoint } from '../api.ts';
import { unprocessable } from '../errors.ts';
import { applyPlans, findApp } from '../manifest/apply.ts';
import { generateManifest, manifestDifference } from '../manifest/generate.ts';
import { parseManifest } from '../manifest/parse.ts';
import { readAppSecrets, writeApp } from './apps.ts';
import { writeSpace } from './spaces.ts';

export function manifestEndpoints(context: Context): Endpoint[] {
  return [
    {
      method: 'POST',
      path: '/v3/spaces/:guid/actions/apply_manifest',
      auth: 'user',
      summary: 'Make the apps of a space what a manifest says.',
      handle: async (request) => {
        const space = writeSpace(context, request, request.params.guid ?? '');
        requireYaml(request);
        const plans = await parseManifest(request.text);
        const { identity } = request;
        const job = context.jobs.start('space.apply_manifest', () => applyPlans(context, { identity, space }, plans), {
          space: space.metadata.name,
        });
        return accepted(context, job);
      },
    },
    {
      method: 'POST',
      path: '/v3/spaces/:guid/manifest_diff',
      auth: 'user',
      summary: 'Say what a manifest would change.',
      handle: async (request) => {
        const space = writeSpace(context, request, request.params.guid ?? '');
        requireYaml(request);
        const plans = await parseManifest(request.text);
        const diff = [];
        for (const [index, plan] of plans.entries()) {
          const app = findApp(context, space, plan.name);
          diff.push(...manifestDifference(index, plan.source, app && (await generateManifest(context, app))));
        }
        return { status: 202, body: { diff } };
      },
    },
    {
      method: 'POST',
      path: '/v3/apps/:guid/actions/apply_manifest',
      auth: 'user',
      summary: 'Make one app what a manifest says.',
      handle: async (request) => {
        const app = writeApp(context, request);
        const space = context.records.spaceOf(app);
        if (!space) throw unprocessable('The space of the app is gone');
        requireYaml(request);
        const plans = await parseManifest(request.text);
        const plan = plans.find((candidate) => candidate.name === app.spec.displayName);
        if (!plan) throw unprocessable(`Could not find application '${app.spec.displayName}' in manifest`);
        const { identity } = request;
        const job = context.jobs.start('app.apply_manifest', () => applyPlans(context, { identity, space }, [plan]), {
          space: space.metadata.name,
        });
        return accepted(context, job);
      },
    },
    {
      method: 'GET',
      path: '/v3/apps/:guid/manifest',
      auth: 'user',
      summary: 'Get the manifest of an app as it is.',
      handle: async (request) => {
        const app = readAppSecrets(context, request);
        const { stringify } = await import('yaml');
        const manifest = { applications: [await generateManifest(context, app)] };
        return { status: 200, type: 'application/x-yaml', body: `---\n${stringify(manifest)}` };
      },
    },
  ];
}

function requireYaml(request: ApiRequest): void {
  if (/^application\/(x-)?yaml/i.test(request.headers['content-type'] ?? '')) return;
  throw unprocessable("The manifest must be sent with the content type 'application/x-yaml'");
}

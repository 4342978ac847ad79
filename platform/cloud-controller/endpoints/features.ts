/** What can be turned on and off for an app or a space. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { App, Space } from '../../resources/types.ts';
import { type ApiRequest, type Context, type Endpoint, type Json, ok } from '../api.ts';
import { APP_FEATURES, type AppFeature, featureConflict } from '../app-features.ts';
import { notAuthorized, notFound, unprocessable } from '../errors.ts';
import { plainList } from '../listing.ts';
import { record } from '../operations/app-lifecycle.ts';
import { whySshIsOff } from '../ssh-access.ts';
import { Reader } from '../validate.ts';
import { operateApp, readApp, writeApp } from './apps.ts';
import { readSpace } from './spaces.ts';

function featuresOf({ spec }: Stored<App>): Json[] {
  return Object.entries(APP_FEATURES).map(([name, { description, isOn }]) => ({
    name,
    description,
    enabled: isOn(spec),
  }));
}

function spaceFeatures(space: Stored<Space>): Json[] {
  return [{ name: 'ssh', description: 'Enable SSHing into apps in the space.', enabled: space.spec.ssh ?? true }];
}

function named(features: Json[], request: ApiRequest): Json {
  const feature = features.find(({ name }) => name === request.params.name);
  if (!feature) throw notFound('Feature');
  return feature;
}

function wanted(request: ApiRequest): boolean {
  const reader = new Reader(request.body).only('enabled');
  const enabled = reader.boolean('enabled');
  if (!reader.has('enabled')) reader.fail('Enabled must be a boolean');
  reader.done();
  return enabled === true;
}

export function featureEndpoints(context: Context): Endpoint[] {
  const spaceOf = (request: ApiRequest) => readSpace(context, request, request.params.guid ?? '');
  return [
    {
      method: 'GET',
      path: '/v3/apps/:guid/ssh_enabled',
      auth: 'user',
      summary: 'Say whether an app can be reached by ssh.',
      handle: (request) => {
        const reason = whySshIsOff(context, readApp(context, request));
        return ok({ enabled: reason === '', reason });
      },
    },
    {
      method: 'GET',
      path: '/v3/apps/:guid/features',
      auth: 'user',
      summary: 'List the features of an app.',
      handle: (request) => plainList(context, request, featuresOf(readApp(context, request))),
    },
    {
      method: 'GET',
      path: '/v3/apps/:guid/features/:name',
      auth: 'user',
      summary: 'Get a feature of an app.',
      handle: (request) => ok(named(featuresOf(readApp(context, request)), request)),
    },
    {
      method: 'PATCH',
      path: '/v3/apps/:guid/features/:name',
      auth: 'user',
      summary: 'Change a feature of an app.',
      handle: async (request) => {
        const app = readApp(context, request);
        const name = String(named(featuresOf(app), request).name) as AppFeature;
        // Who may look after an app may not look into it.
        (name === 'ssh' ? writeApp : operateApp)(context, request);
        const enabled = wanted(request);
        const changed = await context.records.apps.modify(app.metadata.name, (current) => {
          const conflict = featureConflict(current.spec, { [name]: enabled });
          if (conflict !== undefined) throw unprocessable(conflict);
          return { ...current, spec: APP_FEATURES[name].set(current.spec, enabled) };
        });
        await record(context, request.identity, app, 'audit.app.update', { request: { [`enable_${name}`]: enabled } });
        return ok(named(featuresOf(changed), request));
      },
    },
    {
      method: 'GET',
      path: '/v3/spaces/:guid/features',
      auth: 'user',
      summary: 'List the features of a space.',
      handle: (request) => plainList(context, request, spaceFeatures(spaceOf(request))),
    },
    {
      method: 'GET',
      path: '/v3/spaces/:guid/features/:name',
      auth: 'user',
      summary: 'Get a feature of a space.',
      handle: (request) => ok(named(spaceFeatures(spaceOf(request)), request)),
    },
    {
      method: 'PATCH',
      path: '/v3/spaces/:guid/features/:name',
      auth: 'user',
      summary: 'Change a feature of a space.',
      handle: async (request) => {
        const space = spaceOf(request);
        named(spaceFeatures(space), request);
        if (!context.access.managesSpace(request.identity, space)) throw notAuthorized();
        const enabled = wanted(request);
        const changed = await context.records.spaces.modify(space.metadata.name, (current) => ({
          ...current,
          spec: { ...current.spec, ssh: enabled },
        }));
        return ok(named(spaceFeatures(changed), request));
      },
    },
  ];
}

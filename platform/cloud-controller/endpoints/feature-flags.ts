import { type ApiRequest, type Context, type Endpoint, type Json, ok } from '../api.ts';
import { notFound } from '../errors.ts';
import { type FlagName, flagNames } from '../flags.ts';
import { plainList } from '../listing.ts';
import { serially } from '../operations/serially.ts';
import { link, time } from '../present/base.ts';
import { updatedAt } from '../records.ts';
import { Reader } from '../validate.ts';

const MAX_MESSAGE = 250;

export function featureFlagEndpoints(context: Context): Endpoint[] {
  const { flags, urls } = context;
  const present = (name: FlagName): Json => {
    const stored = flags.stored(name);
    return {
      name,
      enabled: flags.isOn(name),
      updated_at: stored ? time(updatedAt(stored)) : null,
      custom_error_message: stored?.spec.customErrorMessage ?? null,
      links: { self: link(`${urls.api}/v3/feature_flags/${name}`) },
    };
  };
  return [
    {
      method: 'GET',
      path: '/v3/feature_flags',
      auth: 'user',
      summary: 'List feature flags.',
      handle: (request) => plainList(context, request, flagNames.map(present)),
    },
    {
      method: 'GET',
      path: '/v3/feature_flags/:name',
      auth: 'user',
      summary: 'Get a feature flag.',
      handle: (request) => ok(present(flag(request))),
    },
    {
      method: 'PATCH',
      path: '/v3/feature_flags/:name',
      auth: 'admin',
      summary: 'Turn a feature on or off for users that are no administrators.',
      handle: async (request) => {
        const name = flag(request);
        const reader = new Reader(request.body).only('enabled', 'custom_error_message');
        const enabled = reader.boolean('enabled');
        const customErrorMessage = reader.nullableString('custom_error_message');
        if ((customErrorMessage?.length ?? 0) > MAX_MESSAGE) {
          reader.fail(`Custom error message is too long (maximum is ${MAX_MESSAGE} characters)`);
        }
        reader.done();
        await serially(`feature flag ${name}`, () =>
          flags.set(name, {
            ...(enabled === undefined ? {} : { enabled }),
            ...(customErrorMessage === undefined ? {} : { customErrorMessage }),
          }),
        );
        return ok(present(name));
      },
    },
  ];
}

function flag(request: ApiRequest): FlagName {
  const name = flagNames.find((known) => known === request.params.name);
  if (!name) throw notFound('Feature flag');
  return name;
}

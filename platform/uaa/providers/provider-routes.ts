/** `/identity-providers`: where users of other origins log in. Of UAA's kinds OpenID Connect (`oidc1.0`) and `ldap`. A secret goes in and never comes out. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { ApiError, type Client } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { AnyProvider, OidcProvider } from '../../resources/identity-providers.ts';
import { type IdentityProvider, identityProviders } from '../../resources/types.ts';
import type { Guard } from '../guard.ts';
import { bodyOf, optionalText, requiredText } from '../scim/body.ts';
import { UaaError } from '../uaa.ts';
import { OWN_ORIGIN } from '../users.ts';
import { presentLdap, readLdap } from './ldap/settings.ts';
import { deleteProvider, findProvider, listProviders, providerId, writeProviderSecret } from './providers.ts';

const OIDC = 'oidc1.0';
const LDAP = 'ldap';
const READ = ['idps.read', 'uaa.admin'];
const WRITE = ['idps.write', 'uaa.admin'];

type Spec = IdentityProvider['spec'];

interface One {
  Params: { id: string };
}

export function providerRoutes(app: FastifyInstance, { client, guard }: { client: Client; guard: Guard }): void {
  const find = async (request: FastifyRequest<One>): Promise<Stored<IdentityProvider>> => {
    const { id } = request.params;
    const provider = (await listProviders(client)).find(({ metadata }) => metadata.name === id);
    if (!provider) throw new UaaError('not_found', `Provider ${id.slice(0, 60)} does not exist`);
    return provider;
  };

  app.get('/identity-providers', async (request) => {
    await guard.scope(request, ...READ);
    return (await listProviders(client)).map(present);
  });

  app.get<One>('/identity-providers/:id', async (request) => {
    await guard.scope(request, ...READ);
    return present(await find(request));
  });

  app.post('/identity-providers', async (request, reply) => {
    await guard.scope(request, ...WRITE);
    const body = bodyOf(request.body);
    const origin = requiredText(body, 'originKey');
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(origin) || origin === OWN_ORIGIN) {
      throw new UaaError(
        'invalid_scim_resource',
        `originKey must be 1 to 63 letters, digits, ".", "_" and "-", and not "${OWN_ORIGIN}"`,
      );
    }
    const { spec, secret } = changed({ origin, groupMappings: [] }, body);
    if (await findProvider(client, origin)) throw exists(origin);
    // A provider that is there can be used.
    if (secret !== undefined) await writeProviderSecret(client, origin, secret);
    try {
      const provider = await client.create(identityProviders, { metadata: { name: providerId(origin) }, spec });
      return await reply.code(201).send(present(provider));
    } catch (error) {
      if (error instanceof ApiError && error.reason === 'AlreadyExists') throw exists(origin);
      throw error;
    }
  });

  app.put<One>('/identity-providers/:id', async (request) => {
    await guard.scope(request, ...WRITE);
    const provider = await find(request);
    const { origin, groupMappings } = provider.spec;
    const { spec, secret } = changed({ origin, groupMappings }, bodyOf(request.body));
    if (secret !== undefined) await writeProviderSecret(client, origin, secret);
    return present(await client.update(identityProviders, { ...provider, spec }));
  });

  app.delete<One>('/identity-providers/:id', async (request) => {
    await guard.scope(request, ...WRITE);
    const provider = await find(request);
    await deleteProvider(client, provider.spec.origin);
    return present(provider);
  });
}

function exists(origin: string): UaaError {
  return new UaaError('scim_resource_already_exists', `The origin ${origin} has an identity provider already`);
}

function changed(
  kept: Pick<Spec, 'origin' | 'groupMappings'>,
  body: Record<string, unknown>,
): { spec: Spec; secret: string | undefined } {
  const type = optionalText(body, 'type') ?? OIDC;
  if (type !== OIDC && type !== LDAP)
    throw new UaaError('invalid_scim_resource', `type ${type.slice(0, 40)} is not known, use ${OIDC} or ${LDAP}`);
  const config = configOf(body['config']);
  const linkText = optionalText(config, 'linkText');
  const displayName = requiredText(body, 'name');
  if (/\p{Cc}/u.test(`${displayName}${linkText ?? ''}`)) {
    throw new UaaError('invalid_scim_resource', 'name and linkText must have no control characters');
  }
  const any: AnyProvider = {
    ...kept,
    displayName,
    active: flag(body, 'active', true),
    ...(linkText === undefined ? {} : { linkText }),
    addUsers: flag(config, 'addShadowUserOnLogin', true),
  };
  const { settings, secret } = type === LDAP ? readLdap(config) : readOidc(config);
  return { spec: { ...any, ...settings }, secret };
}

function readOidc(config: Record<string, unknown>): {
  settings: Omit<OidcProvider, keyof AnyProvider>;
  secret: string | undefined;
} {
  const mappings = config['attributeMappings'] === undefined ? {} : bodyOf(config['attributeMappings']);
  return {
    settings: {
      server: serverOf(optionalText(config, 'discoveryUrl') ?? requiredText(config, 'issuer')),
      clientId: requiredText(config, 'relyingPartyId'),
      scopes: texts(config, 'scopes') ?? ['openid', 'profile', 'email'],
      nameClaim: texts(mappings, 'user_name')?.[0] ?? 'preferred_username',
      groupsClaim: texts(mappings, 'external_groups')?.[0] ?? 'groups',
      passwordGrant: flag(config, 'passwordGrantEnabled', false),
    },
    secret: optionalText(config, 'relyingPartySecret'),
  };
}

/** Older clients send it as text. */
function configOf(value: unknown): Record<string, unknown> {
  if (typeof value !== 'string') return bodyOf(value);
  try {
    return bodyOf(JSON.parse(value));
  } catch (cause) {
    throw new UaaError('invalid_scim_resource', 'config must be a JSON object', { cause });
  }
}

/** What is said over plain HTTP could be anybody's word; on the loopback it is this machine's. */
function serverOf(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const local = url?.protocol === 'http:' && ['127.0.0.1', '[::1]', 'localhost'].includes(url.hostname);
  if (url && (url.protocol === 'https:' || local)) return text;
  throw new UaaError('invalid_scim_resource', `${JSON.stringify(text.slice(0, 120))} must be an https URL`);
}

function flag(body: Record<string, unknown>, field: string, fallback: boolean): boolean {
  const value = body[field] ?? fallback;
  if (typeof value === 'boolean') return value;
  throw new UaaError('invalid_scim_resource', `${field} must be true or false`);
}

function texts(body: Record<string, unknown>, field: string): string[] | undefined {
  const value = body[field];
  if (value === undefined || value === null) return undefined;
  const list: unknown[] = Array.isArray(value) ? value : [value];
  if (
    list.length > 0 &&
    list.length <= 50 &&
    list.every((item) => typeof item === 'string' && /^[\x21-\x7e]{1,255}$/.test(item))
  )
    return list as string[];
  throw new UaaError('invalid_scim_resource', `${field} must be texts without spaces`);
}

function present({ metadata, spec }: Stored<IdentityProvider>): Record<string, unknown> {
  const time = Date.parse(metadata.creationTimestamp);
  return {
    id: metadata.name,
    type: spec.type ?? OIDC,
    originKey: spec.origin,
    name: spec.displayName,
    active: spec.active,
    version: Number(metadata.resourceVersion),
    created: time,
    last_modified: time,
    identityZoneId: 'uaa',
    config: {
      ...(spec.type === LDAP ? presentLdap(spec) : presentOidc(spec)),
      addShadowUserOnLogin: spec.addUsers,
      ...(spec.linkText === undefined ? {} : { linkText: spec.linkText }),
    },
  };
}

function presentOidc(spec: OidcProvider): Record<string, unknown> {
  return {
    discoveryUrl: spec.server,
    relyingPartyId: spec.clientId,
    scopes: spec.scopes,
    passwordGrantEnabled: spec.passwordGrant ?? false,
    showLinkText: true,
    attributeMappings: { user_name: spec.nameClaim, external_groups: [spec.groupsClaim] },
  };
}

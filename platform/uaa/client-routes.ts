/** `/oauth/clients`: who may ask for tokens. A secret goes in and never comes out. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { OauthClient } from '../resources/types.ts';
import { CLIENT_ID_EXPECTED, isClientId, isRedirectUri } from './client-facts.ts';
import type { Clients } from './clients.ts';
import type { Guard } from './guard.ts';
import { bodyOf, optionalText, queryOf, requiredText } from './scim/body.ts';
import { type Listed, scimPage } from './scim/page.ts';
import { UaaError } from './uaa.ts';

const GRANTS = ['password', 'refresh_token', 'client_credentials', 'authorization_code'];
/** What lists can be filtered and ordered by; by the first unless somebody says. */
const NAMES = ['client_id', 'name', 'authorized_grant_types', 'scope', 'authorities'];
const MAX_SECONDS = 365 * 24 * 3600;

interface One {
  Params: { id: string };
}

type Spec = OauthClient['spec'];

export function clientRoutes(app: FastifyInstance, { clients, guard }: { clients: Clients; guard: Guard }): void {
  const find = async (request: FastifyRequest<One>) => {
    const { id } = request.params;
    const client = await clients.stored(id);
    if (client) return client;
    if (clients.isOwn(id)) throw new UaaError('access_denied', `The client ${id} is the platform's own`);
    throw new UaaError('not_found', `No client with requested id: ${id.slice(0, 60)}`);
  };

  app.get('/oauth/clients', async (request) => {
    await guard.scope(request, 'clients.read', 'clients.admin', 'uaa.admin');
    return scimPage((await clients.list()).map(listed), queryOf(request), NAMES);
  });

  app.post('/oauth/clients', async (request, reply) => {
    await guard.scope(request, 'clients.write', 'clients.admin', 'uaa.admin');
    const body = bodyOf(request.body);
    const id = requiredText(body, 'client_id');
    if (!isClientId(id)) {
      throw new UaaError('invalid_client_metadata', `client_id must be ${CLIENT_ID_EXPECTED}`);
    }
    const spec = changed(
      { id, grants: [], scopes: ['uaa.none'], authorities: ['uaa.none'], redirectUris: [], autoApprove: false },
      body,
    );
    if (spec.grants.length === 0) {
      throw new UaaError(
        'invalid_client_metadata',
        `authorized_grant_types must name at least one of ${GRANTS.join(', ')}`,
      );
    }
    await clients.register(spec, optionalText(body, 'client_secret') ?? '');
    return reply.code(201).send(present(spec));
  });

  app.get<One>('/oauth/clients/:id', async (request) => {
    await guard.scope(request, 'clients.read', 'clients.admin', 'uaa.admin');
    return present((await find(request)).spec);
  });

  app.put<One>('/oauth/clients/:id', async (request) => {
    await guard.scope(request, 'clients.write', 'clients.admin', 'uaa.admin');
    const client = await find(request);
    const spec = changed(client.spec, bodyOf(request.body));
    await clients.change(client, spec);
    return present(spec);
  });

  app.delete<One>('/oauth/clients/:id', async (request) => {
    await guard.scope(request, 'clients.write', 'clients.admin', 'uaa.admin');
    const { spec } = await find(request);
    await clients.remove(spec.id);
    return present(spec);
  });

  app.put<One>('/oauth/clients/:id/secret', async (request) => {
    const identity = await guard.scope(request, 'clients.secret', 'clients.admin', 'uaa.admin');
    const { spec } = await find(request);
    const body = bodyOf(request.body);
    const secret = requiredText(body, 'secret');
    const others = identity.scopes.some((scope) => scope === 'clients.admin' || scope === 'uaa.admin');
    if (!others) {
      if (identity.clientId !== spec.id)
        throw new UaaError('access_denied', "Not permitted to change another client's secret");
      await clients.authenticate(spec.id, optionalText(body, 'oldSecret') ?? '');
    }
    await clients.setSecret(spec.id, secret);
    return { status: 'ok', message: 'Secret is updated' };
  });
}

function listed(spec: Spec): Listed {
  return {
    json: present(spec),
    attributes: {
      client_id: [spec.id],
      name: [spec.displayName ?? ''],
      authorized_grant_types: spec.grants,
      scope: spec.scopes,
      authorities: spec.authorities,
    },
  };
}

function changed(spec: Spec, body: Record<string, unknown>): Spec {
  const grants = list(body, 'authorized_grant_types') ?? spec.grants;
  const unknown = grants.find((grant) => !GRANTS.includes(grant));
  if (unknown !== undefined) {
    throw new UaaError(
      'invalid_client_metadata',
      `${JSON.stringify(unknown.slice(0, 60))} is none of the grant types ${GRANTS.join(', ')}`,
    );
  }
  const redirectUris = list(body, 'redirect_uri') ?? spec.redirectUris;
  for (const uri of redirectUris) {
    if (!isRedirectUri(uri)) {
      throw new UaaError(
        'invalid_client_metadata',
        `redirect_uri ${JSON.stringify(uri.slice(0, 120))} must be an absolute URL without a fragment`,
      );
    }
  }
  const displayName = optionalText(body, 'name') ?? spec.displayName;
  const accessSeconds = seconds(body, 'access_token_validity') ?? spec.accessSeconds;
  const refreshSeconds = seconds(body, 'refresh_token_validity') ?? spec.refreshSeconds;
  return {
    id: spec.id,
    ...(displayName === undefined ? {} : { displayName }),
    grants,
    scopes: list(body, 'scope') ?? spec.scopes,
    authorities: list(body, 'authorities') ?? spec.authorities,
    redirectUris,
    autoApprove: approval(body['autoapprove']) ?? spec.autoApprove,
    ...(accessSeconds === undefined ? {} : { accessSeconds }),
    ...(refreshSeconds === undefined ? {} : { refreshSeconds }),
    ...(spec.broker === undefined ? {} : { broker: spec.broker }),
  };
}

/** True, or the scopes that users are not asked about. */
function approval(value: unknown): Spec['autoApprove'] | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'boolean') return value;
  if (value === 'true' || value === 'false') return value === 'true';
  return list({ autoapprove: value }, 'autoapprove');
}

/** A list, or one text with commas between. */
function list(body: Record<string, unknown>, field: string): string[] | undefined {
  const value = body[field];
  if (value === undefined || value === null) return undefined;
  const items = typeof value === 'string' ? value.split(',') : value;
  if (
    Array.isArray(items) &&
    items.length <= 200 &&
    items.every((item) => typeof item === 'string' && item.length <= 2048)
  ) {
    return [...new Set(items as string[])].map((item) => item.trim()).filter(Boolean);
  }
  throw new UaaError('invalid_client_metadata', `${field} must be a list of texts`);
}

function seconds(body: Record<string, unknown>, field: string): number | undefined {
  const value = body[field];
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= MAX_SECONDS) return value;
  throw new UaaError('invalid_client_metadata', `${field} must be 1 to ${MAX_SECONDS} seconds`);
}

function present(spec: Spec): Record<string, unknown> {
  return {
    client_id: spec.id,
    ...(spec.displayName === undefined ? {} : { name: spec.displayName }),
    authorized_grant_types: spec.grants,
    scope: spec.scopes,
    authorities: spec.authorities,
    redirect_uri: spec.redirectUris,
    autoapprove: spec.autoApprove,
    ...(spec.accessSeconds === undefined ? {} : { access_token_validity: spec.accessSeconds }),
    ...(spec.refreshSeconds === undefined ? {} : { refresh_token_validity: spec.refreshSeconds }),
    resource_ids: [],
  };
}

/**
 * Logging in at another identity provider (OpenID Connect, authorization code with PKCE): away with a state that the browser
 * keeps as a cookie, back with a code that is worth an ID token, whose signature, issuer, audience, nonce and age are checked
 * by `openid-client`. Logins under way are in memory: a restart asks people to begin again. Bounded, the oldest goes first.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Configuration } from 'openid-client';
import type { Client } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import { BoundedMap } from '#lib/bounded-map.ts';
import type { IdentityProvider, OidcProvider } from '../../resources/types.ts';
import { cookieOf, SESSION, sendProblem, setCookie } from '../browser/forms.ts';
import { nextOf } from '../browser/routes.ts';
import type { Sessions } from '../browser/sessions.ts';
import { queryOf } from '../scim/body.ts';
import { UaaError } from '../uaa.ts';
import { findProvider, readProviderSecret } from './providers.ts';
import { admitUser, type Claims } from './shadow-users.ts';

const STATE = '__Host-uaa-external';
const PENDING_MILLISECONDS = 10 * 60_000;
const CONFIGURATION_MILLISECONDS = 10 * 60_000;
const TIMEOUT_SECONDS = 30;
const MOST = 10_000;

interface Pending {
  origin: string;
  verifier: string;
  nonce: string;
  next: string;
  until: number;
}

interface ExternalLoginOptions {
  client: Client;
  sessions: Sessions;
  /** The login server's URL: what the provider sends people back to is below it. */
  login: string;
  now: () => number;
  log?: ((level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void) | undefined;
}

type OidcObject = Stored<IdentityProvider> & { spec: OidcProvider };

interface One {
  Params: { origin: string };
}

export function externalLoginRoutes(app: FastifyInstance, options: ExternalLoginOptions): void {
  const { client, sessions, login, now } = options;
  const pending = new BoundedMap<string, Pending>(MOST);
  const configurations = new Map<string, { version: string; until: number; configuration: Promise<Configuration> }>();

  const provider = async (request: FastifyRequest<One>): Promise<OidcObject> => {
    const { origin } = request.params;
    const found = await findProvider(client, origin);
    if (!found?.spec.active || found.spec.type === 'ldap')
      throw new UaaError('not_found', `There is no identity provider ${origin.slice(0, 60)}`);
    return { ...found, spec: found.spec };
  };

  const configurationOf = (of: OidcObject): Promise<Configuration> => {
    const { origin } = of.spec;
    const known = configurations.get(origin);
    const version = of.metadata.resourceVersion;
    if (known?.version === version && known.until > now()) return known.configuration;
    const configuration = discover(client, of.spec);
    configurations.set(origin, { version, until: now() + CONFIGURATION_MILLISECONDS, configuration });
    // One that failed is asked for again.
    configuration.catch(() => configurations.delete(origin));
    return configuration;
  };

  /** What goes wrong between here and the provider is told in general to the person, and in full to the log. */
  const withProvider = async <T>({ displayName, origin }: OidcProvider, work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      if (error instanceof UaaError) throw error;
      options.log?.('warn', 'A login at an identity provider failed', { origin, error });
      const { code, error: said } = error as { code?: unknown; error?: unknown };
      const why = [said, code].find((word) => typeof word === 'string') ?? 'no answer';
      throw new UaaError('access_denied', `The login with ${displayName} did not work (${String(why).slice(0, 100)}).`);
    }
  };

  app.get<One>('/login/external/:origin', async (request, reply) => {
    try {
      const found = await provider(request);
      const { spec } = found;
      const oidc = await import('openid-client');
      const [state, nonce, verifier] = [oidc.randomState(), oidc.randomNonce(), oidc.randomPKCECodeVerifier()];
      const url = await withProvider(spec, async () =>
        oidc.buildAuthorizationUrl(await configurationOf(found), {
          redirect_uri: `${login}/login/callback/${spec.origin}`,
          scope: spec.scopes.join(' '),
          state,
          nonce,
          code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
          code_challenge_method: 'S256',
        }),
      );
      pending.set(state, {
        origin: spec.origin,
        verifier,
        nonce,
        next: nextOf(queryOf(request)),
        until: now() + PENDING_MILLISECONDS,
      });
      setCookie(reply, STATE, state);
      return reply.header('cache-control', 'no-store').redirect(url.href, 303);
    } catch (error) {
      if (error instanceof UaaError) return sendProblem(reply, error);
      throw error;
    }
  });

  app.get<One>('/login/callback/:origin', async (request, reply) => {
    try {
      const found = await provider(request);
      const { spec } = found;
      const state = queryOf(request).get('state') ?? '';
      const begun = pending.get(state);
      pending.delete(state);
      // Another browser's, or one that another site made begin.
      if (!begun || begun.until <= now() || begun.origin !== spec.origin || cookieOf(request, STATE) !== state) {
        throw new UaaError('access_denied', 'The login has expired. Begin again.');
      }
      const claims = await withProvider(spec, async () =>
        claimsOf(await configurationOf(found), { request, login, begun, state, spec }),
      );
      const guid = await admitUser(client, spec, claims);
      await sessions.close(cookieOf(request, SESSION));
      setCookie(reply, SESSION, await sessions.open(guid));
      setCookie(reply, STATE, '');
      return reply.header('cache-control', 'no-store').redirect(begun.next, 303);
    } catch (error) {
      if (error instanceof UaaError) return sendProblem(reply, error);
      throw error;
    }
  });
}

async function discover(client: Client, spec: OidcProvider): Promise<Configuration> {
  const oidc = await import('openid-client');
  const secret = await readProviderSecret(client, spec.origin);
  const server = new URL(spec.server);
  return oidc.discovery(server, spec.clientId, secret, secret === undefined ? oidc.None() : undefined, {
    timeout: TIMEOUT_SECONDS,
    execute: [
      // The signature of an ID token counts too, not only the connection that it came by.
      oidc.enableNonRepudiationChecks,
      // Where it was registered so: on the loopback.
      ...(server.protocol === 'http:' ? [oidc.allowInsecureRequests] : []),
    ],
  });
}

/** What the ID token says, and what the provider says besides where the token leaves something out. */
async function claimsOf(
  configuration: Configuration,
  back: {
    request: FastifyRequest;
    login: string;
    begun: Pending;
    state: string;
    spec: OidcProvider;
  },
): Promise<Claims> {
  const oidc = await import('openid-client');
  const { begun, spec } = back;
  const tokens = await oidc.authorizationCodeGrant(configuration, new URL(`${back.login}${back.request.url}`), {
    expectedState: back.state,
    expectedNonce: begun.nonce,
    pkceCodeVerifier: begun.verifier,
    idTokenExpected: true,
  });
  const claims = tokens.claims();
  if (!claims) throw new UaaError('access_denied', `${spec.displayName} gave no ID token`);
  const complete = claims[spec.nameClaim] !== undefined && claims[spec.groupsClaim] !== undefined;
  if (complete || configuration.serverMetadata().userinfo_endpoint === undefined) return claims;
  return { ...(await oidc.fetchUserInfo(configuration, tokens.access_token, claims.sub)), ...claims };
}

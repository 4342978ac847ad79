/**
 * Logging in at another identity provider (OpenID Connect, authorization code with PKCE): away with a state that the browser
 * keeps as a cookie, back with a code that is worth an ID token, whose signature, issuer, audience, nonce and age are checked
 * by `openid-client`. Logins under way are in memory: a restart asks people to begin again. Bounded, the oldest goes first.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Configuration } from 'openid-client';
import type { Client } from '#cluster/client/client.ts';
import { BoundedMap } from '#lib/bounded-map.ts';
import type { OidcProvider } from '../../resources/identity-providers.ts';
import { cookieOf, SESSION, sendProblem, setCookie } from '../browser/forms.ts';
import { nextOf } from '../browser/routes.ts';
import type { Sessions } from '../browser/sessions.ts';
import { queryOf } from '../scim/body.ts';
import { UaaError } from '../uaa.ts';
import { type OidcObject, type OidcProviders, wholeClaims } from './oidc.ts';
import { findProvider } from './providers.ts';
import { admitUser, type Claims } from './shadow-users.ts';

const STATE = '__Host-uaa-external';
const PENDING_MILLISECONDS = 10 * 60_000;
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
  oidc: OidcProviders;
  sessions: Sessions;
  /** The login server's URL: what the provider sends people back to is below it. */
  login: string;
  now: () => number;
}

interface One {
  Params: { origin: string };
}

export function externalLoginRoutes(app: FastifyInstance, options: ExternalLoginOptions): void {
  const { client, oidc: providers, sessions, login, now } = options;
  const pending = new BoundedMap<string, Pending>(MOST);

  const provider = async (request: FastifyRequest<One>): Promise<OidcObject> => {
    const { origin } = request.params;
    const found = await findProvider(client, origin);
    if (!found?.spec.active || found.spec.type === 'ldap')
      throw new UaaError('not_found', `There is no identity provider ${origin.slice(0, 60)}`);
    return { ...found, spec: found.spec };
  };

  app.get<One>('/login/external/:origin', async (request, reply) => {
    try {
      const found = await provider(request);
      const { spec } = found;
      const oidc = await import('openid-client');
      const [state, nonce, verifier] = [oidc.randomState(), oidc.randomNonce(), oidc.randomPKCECodeVerifier()];
      const url = await providers.speak(spec, async () =>
        oidc.buildAuthorizationUrl(await providers.configuration(found), {
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
      const claims = await providers.speak(spec, async () =>
        claimsOf(await providers.configuration(found), { request, login, begun, state, spec }),
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
  return await wholeClaims(configuration, spec, tokens);
}

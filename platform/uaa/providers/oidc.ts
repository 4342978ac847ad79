/** OpenID providers as clients of ours speak with them: what they say of themselves is kept for a while, and what goes wrong is told twice. */
import type { Configuration, TokenEndpointResponse, TokenEndpointResponseHelpers } from 'openid-client';
import { outsideTls } from '#lib/authorities.ts';
import type { Client } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { OidcProvider } from '../../resources/identity-providers.ts';
import type { IdentityProvider } from '../../resources/types.ts';
import { UaaError } from '../uaa.ts';
import { readProviderSecret } from './providers.ts';
import { admitUser, type Claims } from './shadow-users.ts';

const CONFIGURATION_MILLISECONDS = 10 * 60_000;
const TIMEOUT_SECONDS = 30;

export type OidcObject = Stored<IdentityProvider> & { spec: OidcProvider };

interface OidcOptions {
  client: Client;
  now?: () => number;
  log?: ((level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void) | undefined;
}

export class OidcProviders {
  readonly #options: OidcOptions;
  readonly #known = new Map<string, { version: string; until: number; configuration: Promise<Configuration> }>();

  constructor(options: OidcOptions) {
    this.#options = options;
  }

  configuration(of: OidcObject): Promise<Configuration> {
    const { client, now = Date.now } = this.#options;
    const { origin } = of.spec;
    const known = this.#known.get(origin);
    const version = of.metadata.resourceVersion;
    if (known?.version === version && known.until > now()) return known.configuration;
    const configuration = discover(client, of.spec);
    this.#known.set(origin, { version, until: now() + CONFIGURATION_MILLISECONDS, configuration });
    // One that failed is asked for again.
    configuration.catch(() => this.#known.delete(origin));
    return configuration;
  }

  /** What goes wrong between here and the provider is told in general to the person, and in full to the log. */
  async speak<T>({ displayName, origin }: OidcProvider, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof UaaError) throw error;
      this.#options.log?.('warn', 'A login at an identity provider failed', { origin, error });
      const { code, error: said } = error as { code?: unknown; error?: unknown };
      const why = [said, code].find((word) => typeof word === 'string') ?? 'no answer';
      throw new UaaError('access_denied', `The login with ${displayName} did not work (${String(why).slice(0, 100)}).`);
    }
  }

  /**
   * The guid of the user that the provider lets in by this password (the grant `password`, RFC 6749 section 4.3), or undefined where it does
   * not. Only for those that are said to have it: the password is anybody's who sees it.
   */
  async logIn(of: OidcObject, said: { username: string; password: string }): Promise<string | undefined> {
    const { spec } = of;
    const claims = await this.speak(spec, async () => {
      const oidc = await import('openid-client');
      const configuration = await this.configuration(of);
      try {
        const fields = { ...said, scope: spec.scopes.join(' ') };
        const tokens = await oidc.genericGrantRequest(configuration, 'password', fields);
        return await wholeClaims(configuration, spec, tokens);
      } catch (error) {
        if ((error as { error?: unknown }).error === 'invalid_grant') return undefined;
        throw error;
      }
    });
    return claims && (await admitUser(this.#options.client, spec, claims));
  }
}

/** What the ID token says, and what the provider says besides where the token leaves something out. */
export async function wholeClaims(
  configuration: Configuration,
  spec: OidcProvider,
  tokens: TokenEndpointResponse & TokenEndpointResponseHelpers,
): Promise<Claims> {
  const claims = tokens.claims();
  if (!claims) throw new UaaError('access_denied', `${spec.displayName} gave no ID token`);
  const complete = claims[spec.nameClaim] !== undefined && claims[spec.groupsClaim] !== undefined;
  if (complete || configuration.serverMetadata().userinfo_endpoint === undefined) return claims;
  const oidc = await import('openid-client');
  return { ...(await oidc.fetchUserInfo(configuration, tokens.access_token, claims.sub)), ...claims };
}

async function discover(client: Client, spec: OidcProvider): Promise<Configuration> {
  const oidc = await import('openid-client');
  const secret = await readProviderSecret(client, spec.origin);
  const server = new URL(spec.server);
  outsideTls();
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

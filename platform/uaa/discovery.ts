/** What UAA can do, for clients that find it by its issuer (OpenID Connect Discovery 1.0). */
import type { FastifyInstance } from 'fastify';
import { KNOWN_GROUPS } from './uaa.ts';

export function discoveryRoutes(
  app: FastifyInstance,
  { issuer, urls }: { issuer: string; urls: { uaa: string; login: string } },
): void {
  const document = {
    issuer,
    authorization_endpoint: `${urls.login}/oauth/authorize`,
    token_endpoint: `${urls.uaa}/oauth/token`,
    token_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post', 'none'],
    jwks_uri: `${urls.uaa}/token_keys`,
    userinfo_endpoint: `${urls.uaa}/userinfo`,
    introspection_endpoint: `${urls.uaa}/introspect`,
    end_session_endpoint: `${urls.login}/logout.do`,
    scopes_supported: KNOWN_GROUPS,
    grant_types_supported: ['authorization_code', 'password', 'refresh_token', 'client_credentials'],
    response_types_supported: ['code'],
    response_modes_supported: ['query'],
    code_challenge_methods_supported: ['S256'],
    authorization_response_iss_parameter_supported: true,
    prompt_values_supported: ['none', 'login', 'consent', 'select_account'],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: ['RS256'],
    request_parameter_supported: false,
    request_uri_parameter_supported: false,
    claims_supported: [
      'sub',
      'user_name',
      'email',
      'origin',
      'iss',
      'aud',
      'exp',
      'iat',
      'jti',
      'auth_time',
      'nonce',
      'at_hash',
      'scope',
      'client_id',
    ],
  };
  app.get('/.well-known/openid-configuration', async () => document);
  // Below the issuer, where the specification looks for it.
  app.get('/oauth/token/.well-known/openid-configuration', async () => document);
}

/** Where relying parties find the keys of service account tokens (OpenID Connect Discovery 1.0). */
import type { ServiceAccountOptions } from './authenticators/service-account.ts';
import { TOKEN_ALGORITHM } from './authenticators/service-account-keys.ts';
import { type Exchange, send } from './exchange.ts';

/** False when the path is none of these. */
export function issuerDiscovery(exchange: Exchange, options: ServiceAccountOptions | undefined): boolean {
  if (options === undefined) return false;
  const answer = (value: object, type: string) => {
    send(exchange, 200, Buffer.from(JSON.stringify(value)), type);
    return true;
  };
  if (exchange.path === '/openid/v1/jwks') return answer(options.keys.jwks, 'application/jwk-set+json');
  if (exchange.path !== '/.well-known/openid-configuration') return false;
  return answer(
    {
      issuer: options.issuer,
      jwks_uri: `${options.issuer.replace(/\/$/, '')}/openid/v1/jwks`,
      response_types_supported: ['id_token'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: [TOKEN_ALGORITHM],
    },
    'application/json',
  );
}

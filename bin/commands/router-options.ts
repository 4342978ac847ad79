import type { Command } from 'commander';
import type { RouterFlags } from '../router-flags.ts';

const ROUTER_FLAGS: readonly (keyof RouterFlags)[] = [
  'acme',
  'acmeAgreeTerms',
  'acmeEmail',
  'acmeCaBundle',
  'acmeEabKeyId',
  'acmeEabHmacKeyFile',
  'clientCa',
  'clientCertValidation',
  'forwardedClientCert',
  'tlsMinVersion',
  'tlsCiphers',
  'routeServiceTls',
];

/** Of the router's certificates: `../router-flags.ts` reads them. */
export function withRouterOptions(command: Command): Command {
  return command
    .option(
      '--acme <url>',
      'get certificates for routes from this ACME server: its directory, or letsencrypt; kept, "" takes all of it back',
    )
    .option('--acme-agree-terms', 'you have read the terms of service of that server, and agree to them')
    .option('--acme-email <address>', 'whom it may write to; kept')
    .option(
      '--acme-ca-bundle <file>',
      "the authority of the server's own certificate, besides the well-known ones; kept",
    )
    .option('--acme-eab-key-id <id>', 'of an account that ours is bound to; kept')
    .option('--acme-eab-hmac-key-file <file>', 'with the key of that, in base64url; kept')
    .option('--client-ca <file>', 'clients of apps may show certificates of these authorities; kept, "" takes it back')
    .option(
      '--client-cert-validation <how>',
      'request (default: who shows none is let in), require (apps are for those who do), or none; kept',
    )
    .option(
      '--forwarded-client-cert <how>',
      'what apps find in X-Forwarded-Client-Cert: sanitize_set (default), forward or always_forward, as with gorouter; kept',
    )
    .option('--tls-min-version <version>', '1.2 (default) or 1.3; kept')
    .option('--tls-ciphers <names>', 'OpenSSL\'s names with colons between; kept, "" is HAProxy\'s own choice')
    .option(
      '--route-service-tls <how>',
      'verify (default): certificates of route services must be right, or any; kept',
    );
}

/** Those of the router, and the others. */
export function routerFlagsOf<Options extends RouterFlags>(
  options: Options,
): [RouterFlags, Omit<Options, keyof RouterFlags>] {
  const isRouters = ([flag]: [string, unknown]): boolean => (ROUTER_FLAGS as readonly string[]).includes(flag);
  const all = Object.entries(options);
  const rest = Object.fromEntries(all.filter((one) => !isRouters(one))) as Omit<Options, keyof RouterFlags>;
  return [Object.fromEntries(all.filter(isRouters)), rest];
}

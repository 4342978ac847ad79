import type { Command } from 'commander';
import type { RouterFlags } from '../router-flags.ts';

const ROUTER_FLAGS: readonly (keyof RouterFlags)[] = [
  'acme',
  'acmeAgreeTerms',
  'acmeEmail',
  'acmeCaBundle',
  'acmeEabKeyId',
  'acmeEabHmacKeyFile',
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
    .option('--acme-eab-hmac-key-file <file>', 'with the key of that, in base64url; kept');
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

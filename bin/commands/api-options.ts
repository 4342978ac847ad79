/** The flags of the Kubernetes API and their help, for the commands that have them; `../api-flags.ts` reads them. */
import type { Command } from 'commander';

export function withApiOptions(command: Command): Command {
  return command
    .option('--oidc-issuer-url <url>', 'let users of this OpenID Connect issuer in; kept, "" takes all of it back')
    .option('--oidc-client-id <id>', 'whom its tokens are for')
    .option('--oidc-username-claim <claim>', 'names the user (default sub)')
    .option('--oidc-username-prefix <prefix>', 'before it (default: the issuer and #; - is none)')
    .option('--oidc-groups-claim <claim>', 'names the groups')
    .option('--oidc-groups-prefix <prefix>', 'before each')
    .option('--oidc-required-claim <claim=value...>', 'what a token must say besides')
    .option('--oidc-ca-file <file>', "the authority of the issuer's certificate")
    .option('--oidc-signing-algs <names>', 'how tokens may be signed, such as RS256,ES256 (default RS256)')
    .option('--audit-policy-file <file>', 'what the audit log holds (audit.k8s.io/v1); kept, "" goes back to our own');
}

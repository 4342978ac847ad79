/**
 * Users whose passwords are elsewhere, by the stock `cf`: part of `test/cf-commands.long.test.ts`. An app `shop` is in the space `dev`. UAA is told where
 * they are as `docs/guides/cf.md` says.
 */
import assert from 'node:assert/strict';
import type { Cf } from './cf.ts';
import type { CfScript } from './cf-script.ts';
import { startIdentityProvider } from './identity-provider.ts';
import type { TestPlatform } from './platform.ts';
import { startSlapd } from './slapd.ts';

interface Elsewhere {
  platform: TestPlatform;
  script: CfScript;
  /** Whose script it is: an administrator. */
  admin: Cf;
  /** Nobody yet. */
  user: Cf;
}

const { raw } = String;

export async function usersOfAnotherProvider({ platform, script, admin, user }: Elsewhere): Promise<void> {
  await using corp = await startIdentityProvider();
  const config = { discoveryUrl: corp.url, relyingPartyId: corp.clientId, relyingPartySecret: corp.clientSecret };
  await using _ = await tellUaa(platform, admin, {
    ...{ type: 'oidc1.0', name: 'Corp', originKey: 'corp' },
    config: { ...config, passwordGrantEnabled: true, attributeMappings: { user_name: 'preferred_username' } },
  });
  const is = (name: string) => {
    corp.passwords.set(name, `${name}s password`);
    corp.claims = { sub: `subject-${name}`, preferred_username: name };
  };
  is('dan');
  await user.login('dan', 'dans password', '--origin', 'corp');
  assert.match(await user.must('orgs'), /No orgs found/);
  await script.run('set-space-role dan default dev SpaceDeveloper --origin corp');
  await script.run(
    raw`
      login -u dan -p 'dans password' --origin corp -o default -s dev | space: +dev
      apps                                | shop
      ! login -u dan -p wrong --origin corp | Credentials were rejected
      ! login -u dan -p 'dans password' --origin uaa | Credentials were rejected
      ! login -u dan -p 'dans password' --origin nowhere
    `,
    user,
  );
  await script.run(raw`
      create-user eva --origin corp
      set-space-role eva default dev SpaceDeveloper --origin corp
      space-users default dev             | SPACE DEVELOPER\n( +.*\n)* +eva \(corp\)
    `);
  is('eva');
  await script.run(
    raw`
      auth eva 'evas password' --origin corp
      target -o default -s dev            | space: +dev
      apps                                | shop
    `,
    user,
  );
}

export async function usersOfADirectory({ platform, script, admin, user }: Elsewhere): Promise<void> {
  await using slapd = await startSlapd(`dn: ou=people,dc=example,dc=org
objectClass: organizationalUnit
ou: people

dn: uid=ida,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: ida
cn: Ida
sn: Example
mail: ida@example.org
userPassword: idas password
`);
  await using _ = await tellUaa(platform, admin, {
    ...{ type: 'ldap', name: 'The directory', originKey: 'ldap' },
    config: {
      ...{ baseUrl: slapd.url, bindUserDn: slapd.rootDn, bindPassword: slapd.rootPassword },
      ...{ userSearchBase: 'ou=people,dc=example,dc=org', userSearchFilter: 'uid={0}', mailAttributeName: 'mail' },
    },
  });
  await script.run(raw`
      create-user ida --origin ldap
      set-space-role ida default dev SpaceDeveloper --origin ldap
    `);
  await user.login('ida', 'idas password', '--origin', 'ldap');
  await script.run(
    raw`
      login -u ida -p 'idas password' --origin ldap -o default -s dev | space: +dev
      apps                                | shop
      auth ida 'idas password'
      ! auth ida wrong                    | Credentials were rejected
      ! login -u ida -p 'idas password' --origin uaa | Credentials were rejected
    `,
    user,
  );
}

/** Until it is disposed of. */
async function tellUaa(platform: TestPlatform, admin: Cf, provider: unknown): Promise<AsyncDisposable> {
  const { uaa = 0 } = platform.instance.ports as Record<string, number>;
  const headers = { authorization: (await admin.must('oauth-token')).trim(), 'content-type': 'application/json' };
  const ask = async (method: string, path: string, body?: unknown) => {
    const request = { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) };
    const response = await fetch(`http://127.0.0.1:${uaa}${path}`, request);
    const said = await response.text();
    assert.ok(response.ok, `${method} ${path}: ${response.status} ${said}`);
    return JSON.parse(said) as { id: string };
  };
  const { id } = await ask('POST', '/identity-providers', provider);
  return { [Symbol.asyncDispose]: async () => void (await ask('DELETE', `/identity-providers/${id}`)) };
}

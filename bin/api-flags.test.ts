import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createAuthority } from '#lib/certificates.ts';
import { type ApiFlags, apiChanges, keptOidc } from './api-flags.ts';
import { HostError } from './host-error.ts';

async function inDirectory(body: (data: string) => Promise<void>): Promise<void> {
  const data = mkdtempSync(join(tmpdir(), 'sampan-api-flags-'));
  mkdirSync(join(data, 'cluster'));
  try {
    await body(data);
  } finally {
    rmSync(data, { recursive: true });
  }
}

async function apply(data: string, flags: ApiFlags): Promise<number> {
  const changes = await apiChanges(data, flags);
  for (const { path, content } of changes)
    if (content === undefined) rmSync(path);
    else writeFileSync(path, content);
  return changes.length;
}

test('each flag stays until it is given anew, and an empty one takes it back', () =>
  inDirectory(async (data) => {
    const { certificate } = await createAuthority({ commonName: 'issuer', days: 1 });
    const ca = join(data, 'issuer.crt');
    writeFileSync(ca, certificate);
    assert.equal(await apply(data, {}), 0);
    const issuer = 'https://login.example.com';
    const first = { oidcIssuerUrl: issuer, oidcClientId: 'kube', oidcCaFile: ca, oidcRequiredClaim: ['a=b', 'c=d=e'] };
    assert.equal(await apply(data, first), 1);
    assert.equal(await apply(data, first), 0);
    rmSync(ca);
    assert.equal(
      await apply(data, { oidcGroupsClaim: 'groups', oidcSigningAlgs: 'ES256,RS256', oidcRequiredClaim: [''] }),
      1,
    );
    assert.deepEqual(keptOidc(data), {
      issuer,
      clientId: 'kube',
      ca: certificate,
      groupsClaim: 'groups',
      algorithms: ['ES256', 'RS256'],
    });
    assert.equal(await apply(data, { oidcIssuerUrl: '' }), 1);
    assert.equal(keptOidc(data), undefined);
  }));

test('what cannot be is refused with flag and remedy', () =>
  inDirectory(async (data) => {
    const file = join(data, 'file');
    writeFileSync(file, 'kind: Nonsense');
    const issuer = { oidcIssuerUrl: 'https://login.example.com', oidcClientId: 'kube' };
    const cases: [ApiFlags, RegExp][] = [
      [
        { oidcIssuerUrl: 'http://login.example.com' },
        /"http:\/\/login.example.com" as --oidc-issuer-url: it is no https URL/,
      ],
      [{ oidcGroupsClaim: 'groups' }, /--oidc-issuer-url/],
      [{ oidcIssuerUrl: issuer.oidcIssuerUrl }, /--oidc-client-id: it is empty/],
      [{ ...issuer, oidcRequiredClaim: ['x'] }, /"x" as --oidc-required-claim/],
      [{ ...issuer, oidcSigningAlgs: 'none' }, /"none" as --oidc-signing-algs/],
      [{ ...issuer, oidcCaFile: file }, /--oidc-ca-file: it holds no certificate/],
      [{ ...issuer, oidcCaFile: `${file}.none` }, /--oidc-ca-file: ENOENT/],
      [{ auditPolicyFile: file }, /--audit-policy-file/],
    ];
    for (const [flags, why] of cases)
      await assert.rejects(apiChanges(data, flags), (error) => error instanceof HostError && why.test(error.message));
  }));

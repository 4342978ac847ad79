/** An OpenID Connect issuer: discovery and keys over HTTPS, with a certificate of its own authority. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { createAuthority, issueCertificate } from '#lib/certificates.ts';

export interface Issuer {
  url: string;
  ca: string;
  asked: number;
  sign(claims: object, options?: { audience?: string; expires?: string }): Promise<string>;
  rotate(): Promise<void>;
  close(): Promise<void>;
}

export async function startIssuer(): Promise<Issuer> {
  const authority = await createAuthority({ commonName: 'issuer', days: 1 });
  const { certificate: cert, key } = await issueCertificate(authority, {
    commonName: 'issuer',
    ips: ['127.0.0.1'],
    usages: ['server'],
    days: 1,
  });
  let generation = 0;
  let pair = await generateKeyPair('ES256');
  const server: Server = createServer({ cert, key }, (request, response) => {
    issuer.asked++;
    const answer = async () =>
      request.url === '/keys'
        ? { keys: [{ ...(await exportJWK(pair.publicKey)), kid: String(generation), alg: 'ES256', use: 'sig' }] }
        : { issuer: issuer.url, jwks_uri: `${issuer.url}/keys` };
    void answer().then((value) => response.end(JSON.stringify(value)));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const issuer: Issuer = {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    ca: authority.certificate,
    asked: 0,
    sign: (claims, { audience = 'sampan', expires = '5m' } = {}) =>
      new SignJWT({ ...claims })
        .setProtectedHeader({ alg: 'ES256', kid: String(generation) })
        .setIssuer(issuer.url)
        .setAudience(audience)
        .setExpirationTime(expires)
        .sign(pair.privateKey),
    async rotate() {
      pair = await generateKeyPair('ES256');
      generation++;
    },
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
  return issuer;
}

/** Clients' certificates, as apps see them in X-Forwarded-Client-Cert. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { after, before, describe, test } from 'node:test';
import { createAuthority, issueCertificate, type KeyPair } from '#lib/certificates.ts';
import type { RouterTls } from './model.ts';
import { type App, backend, get, route, startApp, startRouter, type TestRouter } from './testing.ts';

const HOST = 'web.apps.test';
const SYSTEM = 'api.apps.test';
const FORGED = { 'X-Forwarded-Client-Cert': 'forged', x_forwarded_client_cert: 'forged too' };

describe('client certificates', { concurrency: false }, () => {
  let router: TestRouter;
  let app: App;
  let authority: KeyPair;
  let client: KeyPair;
  let stranger: KeyPair;

  before(async () => {
    authority = await createAuthority({ commonName: 'clients', days: 1 });
    client = await issueCertificate(authority, { commonName: 'ann', usages: ['client'], days: 1 });
    const other = await createAuthority({ commonName: 'others', days: 1 });
    stranger = await issueCertificate(other, { commonName: 'ann', usages: ['client'], days: 1 });
    app = await startApp('web', ({ headers }, response) => {
      const { 'x-forwarded-client-cert': dashes = '', x_forwarded_client_cert: underscores = '' } = headers;
      response.end(JSON.stringify([dashes, underscores]));
    });
    router = await startRouter({ system: [{ host: SYSTEM, address: '127.0.0.1', port: app.port }] });
  });
  after(async () => {
    await router?.[Symbol.asyncDispose]();
    await app?.[Symbol.asyncDispose]();
  });

  async function open(tls: Partial<RouterTls> = {}): Promise<void> {
    await router.reopen({ tls: { minimum: '1.2', forwarded: 'sanitize_set', ...tls } });
    await router.router.apply({ routes: [route(HOST, 'web')], backends: [backend('web', app.endpoint)] });
  }

  /** What the app was told, or the status that somebody else answered with. */
  async function told(pair?: KeyPair, options: { host?: string; maxVersion?: 'TLSv1.2' } = {}): Promise<unknown> {
    const { host = HOST, maxVersion } = options;
    const sent = request({
      ...{ host: '127.0.0.1', port: router.router.ports().https, servername: host, agent: false },
      ...{ headers: { host, ...FORGED }, rejectUnauthorized: false },
      ...(pair && { cert: pair.certificate, key: pair.key }),
      ...(maxVersion && { maxVersion }),
    }).end();
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    const text = (await response.toArray()).join('');
    return response.statusCode === 200 ? (JSON.parse(text) as unknown) : response.statusCode;
  }
  const plain = async (): Promise<unknown> => {
    const { status, body } = await get(router.router, HOST, '/', { headers: FORGED });
    return status === 200 ? JSON.parse(body) : status;
  };
  const shown = (): string => new X509Certificate(client.certificate).raw.toString('base64');

  test('what a client says of itself is taken off, where nobody’s certificates count', async () => {
    await open();
    assert.deepEqual(
      [await told(), await told(client), await plain()],
      [
        ['', ''],
        ['', ''],
        ['', ''],
      ],
    );
  });

  test('sanitize_set: the certificate that was shown, and nothing else', async () => {
    await open({ clients: { authorities: authority.certificate, required: false } });
    assert.deepEqual(
      [await told(), await told(client), await plain()],
      [
        ['', ''],
        [shown(), ''],
        ['', ''],
      ],
    );
    await assert.rejects(told(stranger), 'it is no certificate of theirs');
  });

  test('forward: what those say who show a certificate', async () => {
    await open({ clients: { authorities: authority.certificate, required: false }, forwarded: 'forward' });
    const said = ['forged', 'forged too'];
    assert.deepEqual([await told(), await told(client), await plain()], [['', ''], said, ['', '']]);
  });

  test('always_forward: what everybody says', async () => {
    await open({ forwarded: 'always_forward' });
    const said = ['forged', 'forged too'];
    assert.deepEqual([await told(), await plain()], [said, said]);
  });

  test('required: apps are for those who show one; the platform is for everybody, under its own name alone', async () => {
    await open({ clients: { authorities: authority.certificate, required: true } });
    assert.deepEqual([await told(), await told(client), await plain()], [403, [shown(), ''], 403]);
    assert.deepEqual(await told(undefined, { host: SYSTEM }), ['', '']);
    const { proxyPid, reloads } = router.router.status();
    // Other authorities are other clients, with the same proxy.
    const next = await createAuthority({ commonName: 'next', days: 1 });
    await open({ clients: { authorities: next.certificate, required: true } });
    await assert.rejects(told(client));
    assert.deepEqual([router.router.status().proxyPid, reloads], [proxyPid, 1]);
  });

  test('the oldest version of TLS, and which ciphers', async () => {
    await open();
    assert.deepEqual(await told(undefined, { maxVersion: 'TLSv1.2' }), ['', '']);
    await open({ minimum: '1.3', ciphers: ['TLS_CHACHA20_POLY1305_SHA256', 'ECDHE-ECDSA-AES128-GCM-SHA256'] });
    await assert.rejects(told(undefined, { maxVersion: 'TLSv1.2' }));
    const sent = request({
      ...{ host: '127.0.0.1', port: router.router.ports().https, servername: HOST, agent: false },
      ...{ headers: { host: HOST }, rejectUnauthorized: false },
    }).end();
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    assert.equal((response.socket as import('node:tls').TLSSocket).getCipher().name, 'TLS_CHACHA20_POLY1305_SHA256');
    response.resume();
    await once(response, 'end');
  });
});

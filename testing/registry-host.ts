/** A registry of a test's own on a free port, with a store of its own or a given one, and requests to it. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { Agent, request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { openContentStore } from '#engine/images/content.ts';
import type { ContentStore } from '#engine/images/store.ts';
import { type RegistryOptions, startRegistry } from '#engine/registry/server.ts';
import { createAuthority, issueCertificate } from '#lib/certificates.ts';
import { digestOf } from '#lib/digest.ts';

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

export interface RegistryHost extends AsyncDisposable {
  readonly content: ContentStore;
  readonly directory: string;
  readonly port: number;
  /** `127.0.0.1:<port>` */
  readonly host: string;
  /** PEM. */
  readonly ca: string;
  readonly tls: { cert: string; key: string };
  /** A directory for clients that want the authority as a file (`ca.crt`). */
  readonly certificates: string;
  /** `user` is `name:password`; `''` for nobody. */
  call(method: string, path: string, options?: CallOptions): Promise<Answer>;
  pushBlob(repository: string, bytes: Buffer): Promise<{ mediaType: string; digest: string; size: number }>;
  pushManifest(repository: string, reference: string, manifest: Record<string, unknown>): Promise<Answer>;
}

export interface CallOptions {
  body?: Uint8Array | string;
  headers?: Record<string, string>;
  user?: string;
  token?: string;
}

export async function startRegistryHost(
  options: Partial<Pick<RegistryOptions, 'content' | 'cache' | 'authorize' | 'onPush'>> & {
    user?: string;
    port?: number;
  } = {},
): Promise<RegistryHost> {
  const directory = await mkdtemp(join(tmpdir(), 'registry-host-'));
  const authority = await createAuthority({ commonName: 'test', days: 1 });
  const pair = await issueCertificate(authority, {
    commonName: 'r',
    dnsNames: ['localhost'],
    ips: ['127.0.0.1'],
    usages: ['server'],
    days: 1,
  });
  const tls = { cert: pair.certificate, key: pair.key };
  await writeFile(join(directory, 'ca.crt'), authority.certificate);
  const content = options.content ?? openContentStore(join(directory, 'content'));
  const { cache, onPush } = options;
  const registry = await startRegistry({
    content,
    listen: { host: '127.0.0.1', port: options.port ?? 0 },
    tls,
    authorize: options.authorize ?? (() => true),
    ...(cache === undefined ? {} : { cache }),
    ...(onPush === undefined ? {} : { onPush }),
    onError: (error) => console.error(error),
  });
  const agent = new Agent({ keepAlive: true, ca: authority.certificate });
  const call = async (method: string, path: string, given: CallOptions = {}): Promise<Answer> => {
    const user = given.user ?? options.user ?? '';
    const login = given.token === undefined ? `Basic ${btoa(user)}` : `Bearer ${given.token}`;
    const outgoing = request({
      host: '127.0.0.1',
      port: registry.port,
      agent,
      method,
      path,
      headers: { ...(user === '' && given.token === undefined ? {} : { authorization: login }), ...given.headers },
    });
    outgoing.end(given.body);
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
    return { status: response.statusCode ?? 0, headers: response.headers, body: await buffer(response) };
  };
  return {
    content,
    directory,
    port: registry.port,
    host: `127.0.0.1:${registry.port}`,
    ca: authority.certificate,
    tls,
    certificates: directory,
    call,
    async pushBlob(repository, bytes) {
      const digest = digestOf(bytes);
      const { status } = await call('POST', `/v2/${repository}/blobs/uploads/?digest=${digest}`, { body: bytes });
      assert.equal(status, 201);
      return { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest, size: bytes.length };
    },
    async pushManifest(repository, reference, manifest) {
      const type = manifest['mediaType'];
      return await call('PUT', `/v2/${repository}/manifests/${reference}`, {
        body: JSON.stringify({ schemaVersion: 2, ...manifest }),
        headers: { 'content-type': typeof type === 'string' ? type : 'application/vnd.oci.image.manifest.v1+json' },
      });
    },
    async [Symbol.asyncDispose]() {
      agent.destroy();
      await registry.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

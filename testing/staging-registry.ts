/** A real registry on a free port, for tests. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openContentStore } from '#engine/images/content.ts';
import { startRegistry } from '#engine/registry/server.ts';
import { createAuthority, issueCertificate } from '#lib/certificates.ts';
import { RegistryClient, type RegistryOptions } from '#platform/staging/images/registry-client.ts';

export interface TestRegistry extends AsyncDisposable {
  client: RegistryClient;
  options: RegistryOptions;
  /** Goes with the registry. */
  directory: string;
}

export async function startTestRegistry(): Promise<TestRegistry> {
  const directory = await mkdtemp(join(tmpdir(), 'staging-registry-'));
  const authority = await createAuthority({ commonName: 'test', days: 1 });
  const pair = await issueCertificate(authority, { commonName: 'r', ips: ['127.0.0.1'], usages: ['server'], days: 1 });
  const registry = await startRegistry({
    content: openContentStore(directory),
    listen: { host: '127.0.0.1', port: 0 },
    tls: { cert: pair.certificate, key: pair.key },
    authorize: ({ username, password }) => username === 'staging' && password === 'secret',
    onError: (error) => console.error(error),
  });
  const host = `127.0.0.1:${registry.port}`;
  const options = { host, ca: authority.certificate, username: 'staging', password: 'secret' };
  const client = new RegistryClient(options);
  return {
    client,
    options,
    directory,
    async [Symbol.asyncDispose]() {
      client.close();
      await registry.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/**
 * Fetches packages from an npm registry and verifies them. Used by the nodejs buildpack inside the build container and
 * by the platform for the npm that it ships. Registry, proxy and certificates come from npm's own environment variables
 * (`npm_config_registry`, `https_proxy`, `NODE_EXTRA_CA_CERTS`).
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { httpGet, RegistryError } from './http-get.ts';

export interface PackageVersion {
  version: string;
  tarball: string;
  integrity: string;
  engines: Record<string, string>;
}

interface Packument {
  'dist-tags'?: Record<string, string>;
  versions?: Record<
    string,
    {
      version: string;
      deprecated?: string;
      engines?: Record<string, string>;
      dist: { tarball: string; integrity?: string };
    }
  >;
}

export interface NpmRegistryOptions {
  /** Base address; default npm's public registry. */
  registry?: string | undefined;
  /** PEM bundle besides Node's own. */
  ca?: string | undefined;
}

export class NpmRegistry {
  readonly #base: string;
  readonly #ca: string | undefined;

  constructor(options: NpmRegistryOptions = {}) {
    this.#base = (options.registry ?? registryFromEnvironment()).replace(/\/+$/, '');
    this.#ca = options.ca;
  }

  /** All published versions, in no particular order, and the one that is tagged `latest`. */
  async versions(name: string): Promise<{ versions: PackageVersion[]; latest: string | undefined }> {
    const url = `${this.#base}/${name.replace('/', '%2f')}`;
    const body = await this.#get(url, 'application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8');
    const packument = JSON.parse(body.toString('utf8')) as Packument;
    const versions: PackageVersion[] = [];
    for (const { version, dist, engines, deprecated } of Object.values(packument.versions ?? {})) {
      if (dist.integrity === undefined || deprecated !== undefined) continue;
      versions.push({ version, tarball: dist.tarball, integrity: dist.integrity, engines: engines ?? {} });
    }
    return { versions, latest: packument['dist-tags']?.['latest'] };
  }

  /** The package's tar.gz, when it is what its integrity says. */
  async download(wanted: { tarball: string; integrity: string }): Promise<Buffer> {
    const body = await this.#get(wanted.tarball, '*/*');
    verifyIntegrity(body, wanted.integrity, wanted.tarball);
    return body;
  }

  /** A version whose integrity is known ahead; the address follows from the name, as in every npm registry. */
  async downloadPinned(name: string, version: string, integrity: string): Promise<Buffer> {
    const file = `${name.slice(name.lastIndexOf('/') + 1)}-${version}.tgz`;
    return await this.download({ tarball: `${this.#base}/${name}/-/${file}`, integrity });
  }

  async #get(url: string, accept: string): Promise<Buffer> {
    return await httpGet(url, { accept, ca: this.#ca });
  }
}

/** Subresource integrity: the strongest of the hashes that are given must match. */
function verifyIntegrity(body: Buffer, integrity: string, what: string): void {
  for (const algorithm of ['sha512', 'sha384', 'sha256']) {
    const wanted = integrity.split(/\s+/).find((hash) => hash.startsWith(`${algorithm}-`));
    if (wanted === undefined) continue;
    const digest = Buffer.from(wanted.slice(algorithm.length + 1), 'base64');
    const actual = createHash(algorithm).update(body).digest();
    if (digest.length === actual.length && timingSafeEqual(digest, actual)) return;
    throw new RegistryError(`${what}: its content does not match its integrity ${wanted}`, false);
  }
  throw new RegistryError(`${what}: the registry gives no integrity to check it by`, false);
}

function registryFromEnvironment(): string {
  return process.env['npm_config_registry'] ?? process.env['NPM_CONFIG_REGISTRY'] ?? 'https://registry.npmjs.org';
}

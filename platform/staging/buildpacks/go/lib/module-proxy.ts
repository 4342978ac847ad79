/** Toolchains at the proxies that GOPROXY names (Go Modules Reference, "GOPROXY protocol"; Go Toolchains, "Downloading"). */
import { httpGet, RegistryError } from '../../../lifecycle/http-get.ts';
import { AppError } from '../../../lifecycle/words.ts';
import { isGoVersion } from './version.ts';

const ARCHITECTURE = process.arch === 'arm64' ? 'arm64' : 'amd64';

/** Of the module `golang.org/toolchain`. */
export function toolchainVersion(go: string): string {
  return `v0.0.1-go${go}.linux-${ARCHITECTURE}`;
}

/** @throws RegistryError where no proxy answers */
export async function publishedToolchains(): Promise<string[]> {
  const list = (await fromProxies('list')).toString('utf8');
  const pattern = new RegExp(`^v0\\.0\\.1-go(\\d[0-9.a-z]*)\\.linux-${ARCHITECTURE}$`);
  return list.split(/\s+/).flatMap((line) => pattern.exec(line)?.[1] ?? []);
}

/** Lists leave out what nobody asked that proxy for. @throws RegistryError where no proxy answers */
export async function isPublished(go: string): Promise<boolean> {
  if (!isGoVersion(go)) return false;
  try {
    await fromProxies(`${toolchainVersion(go)}.info`);
    return true;
  } catch (error) {
    if (error instanceof RegistryError && !error.temporary) return false;
    throw error;
  }
}

/** A zip. @throws RegistryError where no proxy has it */
export async function downloadToolchain(go: string): Promise<Buffer> {
  return await fromProxies(`${toolchainVersion(go)}.zip`);
}

/** To who pushes, where it is the proxy's. */
export function explained(error: unknown): unknown {
  if (!(error instanceof RegistryError)) return error;
  return new AppError(`the Go module proxy did not answer: ${error.message}; GOPROXY chooses another one`);
}

/** Go itself goes on to the next at some failures only; what comes of here is checked by hashes. */
async function fromProxies(file: string): Promise<Buffer> {
  let failure: unknown;
  for (const proxy of proxies()) {
    try {
      return await httpGet(`${proxy}/golang.org/toolchain/@v/${file}`);
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}

function proxies(): string[] {
  const setting = process.env['GOPROXY'] || 'https://proxy.golang.org';
  const found = setting.split(/[,|]/).filter((word) => /^https?:/.test(word));
  if (found.length > 0) return found.map((address) => address.replace(/\/+$/, ''));
  throw new AppError(`GOPROXY ${JSON.stringify(setting)} names no proxy: Go itself comes from one, so name one there`);
}

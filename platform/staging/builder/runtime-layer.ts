/**
 * The Node.js runtime that the platform ships: the one that it runs on itself, with npm beside it. It runs the lifecycle
 * in build pods, and it is the runtime layer of every app that wants this version, so that most apps download none.
 */
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { readTar } from '#lib/tar/read.ts';
import { safeName } from '#lib/tar/names.ts';
import { type TarInput, writeTar } from '#lib/tar/write.ts';
import { LAUNCH_ENVIRONMENT } from '../buildpacks/nodejs/lib/launch-environment.ts';
import { directoryEntry, fileEntry, linkEntry } from '../images/entries.ts';
import { CREATED_SECONDS, type Layer, ociArchitecture } from '../images/oci.ts';
import { pushLayer } from '../images/push-layer.ts';
import type { RegistryClient } from '../images/registry-client.ts';
import { readSingleLayer, writeImage } from '../images/single-layer.ts';
import { NpmRegistry } from '../lifecycle/npm-registry.ts';

/** An npm that runs on every Node from 22.9 and 20.17 on. */
const NPM = {
  version: '11.21.2',
  integrity: 'sha512-7HPApk+AflMUavSseL1Pm6CnYqMIHk53x+KmuhqmTDqPkjPMgxIpTPcTqsE91EKNw4gFBJV9fnXiSdGm1DXq9A==',
};
/** Raised when the layer's layout changes. */
const LAYOUT = 1;

export const RUNTIME_REPOSITORY = 'sampan/runtime';

export function runtimeTag(): string {
  return `node-${process.versions.node}-npm-${NPM.version}-${ociArchitecture()}-${LAYOUT}`;
}

export async function ensureRuntimeLayer(options: {
  registry: RegistryClient;
  npm: { registry?: string; ca?: string };
  onProgress?: (message: string) => void;
  signal?: AbortSignal;
}): Promise<Layer> {
  const { registry } = options;
  const present = await readSingleLayer(registry, RUNTIME_REPOSITORY, runtimeTag());
  if (present !== undefined) return present.layer;
  options.onProgress?.(`packing Node.js ${process.versions.node} and npm ${NPM.version}`);
  const npm = await new NpmRegistry(options.npm).downloadPinned('npm', NPM.version, NPM.integrity);
  const signal = options.signal === undefined ? {} : { signal: options.signal };
  const layer = await pushLayer(registry, RUNTIME_REPOSITORY, writeTar(entries(npm)), signal);
  await writeImage(registry, RUNTIME_REPOSITORY, runtimeTag(), {
    architecture: ociArchitecture(),
    layers: [layer],
    run: {},
    ...signal,
  });
  return layer;
}

async function* entries(npm: Buffer): AsyncGenerator<TarInput> {
  const root = `layers/sampan_nodejs/node-${process.versions.node}`;
  const size = (await stat(process.execPath)).size;
  yield directoryEntry('layers', 1000);
  yield directoryEntry('layers/sampan_nodejs', 1000);
  yield directoryEntry(root);
  const licence = await readFile(join(dirname(process.execPath), '..', 'LICENSE')).catch(() => undefined);
  if (licence !== undefined) yield fileEntry(`${root}/LICENSE`, licence);
  yield directoryEntry(`${root}/bin`);
  const node = fileEntry(`${root}/bin/node`, '', 0o755);
  yield { ...node, sizeBytes: size, data: createReadStream(process.execPath, { highWaterMark: 1024 * 1024 }) };
  for (const name of ['npm', 'npx'])
    yield linkEntry(`${root}/bin/${name}`, `../lib/node_modules/npm/bin/${name}-cli.js`);
  yield directoryEntry(`${root}/env.launch`);
  for (const [name, content] of Object.entries(LAUNCH_ENVIRONMENT).sort()) yield fileEntry(`${root}/${name}`, content);
  yield directoryEntry(`${root}/lib`);
  yield directoryEntry(`${root}/lib/node_modules`);
  yield directoryEntry(`${root}/lib/node_modules/npm`);
  yield* unpacked(npm, `${root}/lib/node_modules/npm`);
}

/** npm's package names no directories. Only files are taken; programs may be executed. */
async function* unpacked(archive: Buffer, target: string): AsyncGenerator<TarInput> {
  const made = new Set<string>();
  for await (const entry of readTar(Readable.from([archive]).pipe(createGunzip()))) {
    if (entry.type !== 'file') continue;
    const name = safeName(entry.name).split('/').slice(1).join('/');
    if (/^(docs|man)\//.test(name)) continue;
    const parts = name.split('/');
    for (let depth = 1; depth < parts.length; depth += 1) {
      const directory = parts.slice(0, depth).join('/');
      if (made.has(directory)) continue;
      made.add(directory);
      yield directoryEntry(`${target}/${directory}`);
    }
    const mode = (entry.mode & 0o111) === 0 && !/^bin\/[^/]+\.js$/.test(name) ? 0o644 : 0o755;
    const owner = { uid: 0, gid: 0, mtimeSeconds: CREATED_SECONDS };
    yield { name: `${target}/${name}`, type: 'file', mode, ...owner, sizeBytes: entry.sizeBytes, data: entry.data() };
  }
}

/** Stages and asks apps without a cluster: real registry, stack, lifecycle and buildpacks; containers are chroots. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort } from '#lib/ports.ts';
import { writeTar } from '#lib/tar/write.ts';
import { createBits } from '#platform/staging/bits/bits.ts';
import { appRepository, readPackage } from '#platform/staging/bits/package-image.ts';
import { hostileZip } from '#platform/staging/bits/zip.testing.ts';
import { LIFECYCLE, restoredEntries } from '#platform/staging/builder/build-image.ts';
import { BUILDER_REPOSITORY, type Builder, ensureBuilder } from '#platform/staging/builder/builder.ts';
import { parseBuildResult } from '#platform/staging/export/build-result.ts';
import { writeBillOfMaterials } from '#platform/staging/export/bill-of-materials.ts';
import { ownRunImage } from '#platform/staging/export/run-image.ts';
import { type Exported, exportDroplet } from '#platform/staging/export/exporter.ts';
import { type Previous, readPrevious, writePrevious } from '#platform/staging/export/previous.ts';
import type { ImageConfigFile, Layer, Manifest } from '#platform/staging/images/oci.ts';
import { withRuntimes } from '#platform/staging/builds/with-runtimes.ts';
import type { BuildResult, WantedBuildpacks } from '#platform/staging/lifecycle/protocol.ts';
import { createDebianRuntimes } from '#platform/staging/runtimes/debian-runtimes.ts';
import { type Runtime, type Runtimes, RUNTIMES_REPOSITORY } from '#platform/staging/runtimes/runtimes.ts';
import { UPLOADED_REPOSITORY, uploadedLayers } from '#platform/staging/uploaded-buildpacks.ts';
import { startTestRegistry, type TestRegistry } from './staging-registry.ts';
import { ChrootContainer } from './staging-root.ts';

export interface Staged {
  output: string;
  exported: Exported;
  stored: string[];
  result: BuildResult;
}

export interface Asked {
  status: number;
  body: string;
  headers: Record<string, unknown>;
}

export interface StagingBed extends AsyncDisposable {
  readonly registry: TestRegistry;
  readonly builder: Builder;
  /** Rejects with the output, and `status`, where the lifecycle fails. Names that end with `.sh` or begin with `bin/` are programs. */
  stage(
    app: string,
    files: Record<string, string | Buffer>,
    wanted?: WantedBuildpacks,
    environment?: Record<string, string>,
  ): Promise<Staged>;
  /** Starts the droplet and asks it once. */
  ask(app: string, path?: string, args?: string[], environment?: Record<string, string>): Promise<Asked>;
  zip(files: Record<string, string | Buffer>): string;
  /** A build container before anything of an app is in it. */
  container(): ChrootContainer;
}

export async function openStagingBed(): Promise<StagingBed> {
  const registry = await startTestRegistry();
  const builder = await ensureBuilder({ registry: registry.client, temporaryDirectory: registry.directory, npm: {} });
  const runtimes = createDebianRuntimes({
    registry: registry.client,
    temporaryDirectory: registry.directory,
    stack: async () => builder.base,
  });
  // What every build, and what most droplets, begin with.
  const buildBase = new ChrootContainer();
  const shipped = [builder.stack, ...builder.seeds.map(({ layer }) => layer), builder.lifecycle];
  await buildBase.unpack(registry.client, BUILDER_REPOSITORY, shipped);
  const stackBase = new ChrootContainer();
  await stackBase.unpack(registry.client, BUILDER_REPOSITORY, [builder.stack]);
  const zip = (files: Record<string, string | Buffer>) => {
    const mode = (name: string) => (name.endsWith('.sh') || name.startsWith('bin/') ? 0o100755 : 0o100644);
    return hostileZip(
      registry.directory,
      Object.entries(files).map(([name, content]) => ({ name, content, mode: mode(name) })),
    );
  };
  return {
    registry,
    builder,
    zip,
    container: () => new ChrootContainer(buildBase),
    stage: (app, files, wanted, environment = {}) =>
      stage({ registry, builder, runtimes, buildBase }, app, { zip: zip(files), wanted, environment }),
    ask: (app, path = '/', args = [], environment = {}) =>
      ask({ registry, stackBase }, app, { path, args, environment }),
    async [Symbol.asyncDispose]() {
      buildBase[Symbol.dispose]();
      stackBase[Symbol.dispose]();
      await registry[Symbol.asyncDispose]();
    },
  };
}

interface Bed {
  registry: TestRegistry;
  builder: Builder;
  runtimes: Runtimes;
  buildBase: ChrootContainer;
}

interface Wanted {
  zip: string;
  wanted: WantedBuildpacks | undefined;
  environment: Record<string, string>;
}

async function stage(bed: Bed, app: string, asked: Wanted): Promise<Staged> {
  const { registry, builder, runtimes } = bed;
  const { client } = registry;
  const repository = appRepository(app);
  const { image } = await createBits(client).store({ app, zip: asked.zip, resources: [] });
  const source = await readPackage(client, repository, image.split('@')[1] ?? '');
  assert.ok(source);
  const previous = await readPrevious(client, repository, builder.stack.digest);
  using containers = new DisposableStack();
  let output = '';
  let container: ChrootContainer | undefined;
  const done = await withRuntimes({
    last: previous.runtimes,
    provide: (names) => runtimes.provide(names, () => {}),
    async run(mounted) {
      container = containers.use(new ChrootContainer(bed.buildBase));
      const ran = await build(container, bed, { ...asked, repository, previous, source: source.layer, mounted });
      output = ran.output;
      return ran.result;
    },
    async clear() {},
  });
  const stored: string[] = [];
  const exported = await exportDroplet({
    registry: client,
    repository,
    run: ownRunImage(builder, done.runtimes),
    seeds: builder.seeds,
    source: source.layer,
    result: done.result,
    previous,
    readDirectory: (path) => (container as ChrootContainer).readDirectory(path),
    layerBytes: 1024 ** 3,
    onProgress: (message) => stored.push(message),
    signal: AbortSignal.timeout(300_000),
  });
  await client.putManifest(repository, 'droplet', exported.manifest);
  await writeBillOfMaterials(client, repository, exported, exported.components);
  await writePrevious(client, repository, exported.next);
  return { output, exported, stored, result: done.result };
}

interface BuildParts extends Wanted {
  repository: string;
  previous: Previous;
  source: Layer;
  mounted: readonly Runtime[];
}

async function build(
  container: ChrootContainer,
  { registry: { client }, builder }: Bed,
  parts: BuildParts,
): Promise<{ output: string; result: BuildResult }> {
  const { repository, previous, wanted } = parts;
  const runtimes = parts.mounted.flatMap((each) => [each.launch, each.build]).filter((layer) => layer !== undefined);
  await container.unpack(client, RUNTIMES_REPOSITORY, runtimes);
  const cached = previous.layers.filter(({ cache }) => cache).map(({ layer }) => layer);
  await container.unpack(client, repository, cached);
  if (wanted !== undefined) await container.unpack(client, UPLOADED_REPOSITORY, await uploadedLayers(client, wanted));
  await container.unpackTar(writeTar(restoredEntries(builder, previous)));
  await container.unpack(client, repository, [parts.source]);
  container.useNetwork();
  const ca = '/etc/ssl/certs/ca-certificates.crt';
  // Not waited for by standing still: a test may be the server that the build asks.
  const { status, output } = await container.finish([...LIFECYCLE], {
    NODE_EXTRA_CA_CERTS: ca,
    SSL_CERT_FILE: ca,
    npm_config_cafile: ca,
    ...parts.environment,
    ...(wanted === undefined ? {} : { SAMPAN_BUILDPACKS: JSON.stringify(wanted) }),
  });
  if (status !== 0) throw Object.assign(new Error(output), { status });
  return { output, result: parseBuildResult(container.readFile('/layers/.sampan-result.json')) };
}

async function ask(
  { registry, stackBase }: { registry: TestRegistry; stackBase: ChrootContainer },
  app: string,
  { path, args, environment }: { path: string; args: string[]; environment: Record<string, string> },
): Promise<Asked> {
  const repository = appRepository(app);
  const image = await registry.client.getImage<ImageConfigFile>(repository, 'droplet');
  assert.ok(image);
  using container = new ChrootContainer(stackBase);
  await container.unpack(registry.client, repository, layersOf(image.manifest, image.config).slice(1));
  const port = await freePort();
  const child = container.start([...(image.config.config.Entrypoint ?? []), ...args], {
    PORT: String(port),
    HOME: '/home/vcap',
    ...environment,
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const exited = once(child, 'exit');
  try {
    return await Promise.race([
      answered(port, path),
      exited.then(([code]) => Promise.reject(new Error(`the app ended with ${code}: ${output}`))),
    ]);
  } finally {
    child.kill('SIGTERM');
    await exited;
  }
}

function layersOf(manifest: Manifest, config: ImageConfigFile): Layer[] {
  return manifest.layers.map(({ mediaType, digest, size }, index) => {
    return { mediaType, digest, sizeBytes: size, diffId: config.rootfs.diff_ids[index] ?? '' };
  });
}

/** Connects until somebody listens: the app tells nobody when it does. */
async function answered(port: number, path: string): Promise<Asked> {
  const deadline = Date.now() + 60_000;
  for (;;) {
    try {
      const call = request({ host: '127.0.0.1', port, path, agent: false }).end();
      const [answer] = await once(call, 'response');
      let body = '';
      for await (const chunk of answer) body += chunk;
      return { status: answer.statusCode, body, headers: answer.headers };
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await delay(20);
    }
  }
}

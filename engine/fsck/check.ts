/** The check and the repair, by the contract in `fsck.ts`. */
import { rm } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { writeFileAtomic } from '#lib/atomic-file.ts';
import { removeBundle } from '../containers/container-files.ts';
import { layout as layoutOf } from '../containers/layout.ts';
import { DANGLING_SCOPE, IMAGES_SCOPE } from '../images/scopes.ts';
import { openImages } from '../images/open.ts';
import { lockEngine } from '../lock.ts';
import { type NameFile, References, listBlobs, listLayers, listNames } from './content.ts';
import { checkDigests } from './digests.ts';
import type { FsckOptions, FsckProblem, FsckReport } from './fsck.ts';
import { checkContainers, checkVolumes } from './records.ts';

/** @throws EngineError `conflict` where an engine runs and `repair` is asked for */
export async function fsck(options: FsckOptions): Promise<FsckReport> {
  if (options.repair !== true) return await check(options);
  const release = await lockEngine(options.engine);
  try {
    return await check(options);
  } finally {
    release();
  }
}

async function check(options: FsckOptions): Promise<FsckReport> {
  const layout = layoutOf(options.engine);
  const content = join(layout.data, 'content');
  const volumes = join(layout.data, 'volumes');
  const found = new Findings(options.repair === true);

  const { blobs, stray } = listBlobs(content);
  const digests = await checkDigests(blobs, join(layout.data, 'fsck.progress'), options);
  for (const path of stray)
    found.add({ kind: 'stray', what: relative(layout.data, path), detail: 'it is no blob' }, removal(path));
  for (const { digest, path } of blobs) {
    const detail = digests.bad.get(digest);
    if (detail !== undefined) found.add({ kind: 'blob', what: digest, detail }, removal(path));
  }

  const names = listNames(content);
  for (const path of names.torn)
    found.add({ kind: 'name', what: relative(layout.data, path), detail: 'its record is torn' }, removal(path));
  const references = new References(content, digests.bad.keys(), names.whole);
  const images: NameFile[] = [];
  for (const name of names.whole) {
    const lack = references.lack(name);
    if (lack !== undefined)
      found.add({ kind: 'name', what: `${name.scope} ${name.name}`, detail: lack }, removal(name.path));
    else if (name.scope === IMAGES_SCOPE || name.scope === DANGLING_SCOPE) images.push(name);
  }

  const layers = listLayers(content);
  for (const { path, ...problem } of layers.problems) found.add(problem, removal(path));
  for (const { hex, manifest } of references.imageLayers(images)) {
    if (!layers.whole.has(hex))
      found.addLayer(
        { kind: 'layer', what: `sha256:${hex}`, detail: 'an image needs it and it is not unpacked' },
        manifest,
      );
  }

  const whole = new Set(images.map(({ digest }) => digest));
  const containers = await checkContainers(layout, (digest) => whole.has(digest));
  for (const { torn, ...problem } of containers.problems)
    found.add(
      problem,
      torn === undefined
        ? undefined
        : async () => {
            await removeBundle(layout, torn);
            return 'removed';
          },
    );
  const checkedVolumes = checkVolumes(volumes);
  for (const { name, ...problem } of checkedVolumes.problems)
    found.add(problem, async () => {
      const record = { name, labels: {}, createdAt: Date.now(), anonymous: false };
      await writeFileAtomic(join(volumes, name, 'volume.json'), JSON.stringify(record));
      return 'written anew, without labels';
    });

  const collected = await found.mend(options, containers.images);
  return {
    checked: {
      blobs: blobs.length,
      bytes: digests.bytes,
      names: names.whole.length + names.torn.length,
      layers: layers.whole.size + layers.problems.length,
      containers: containers.count,
      volumes: checkedVolumes.count,
    },
    resumed: digests.resumed,
    problems: found.problems,
    ...(collected === undefined ? {} : { collected }),
  };
}

type Repair = () => Promise<string>;

function removal(path: string): Repair {
  return async () => {
    await rm(path, { recursive: true, force: true });
    return 'removed';
  };
}

/** Problems in the order in which they were found, with what mends each. */
class Findings {
  readonly problems: FsckProblem[] = [];
  readonly #repairs: { problem: FsckProblem; repair: Repair }[] = [];
  readonly #layers: { problem: FsckProblem; manifest: string }[] = [];
  readonly #repair: boolean;

  constructor(repair: boolean) {
    this.#repair = repair;
  }

  add(problem: FsckProblem, repair: Repair | undefined): void {
    this.problems.push(problem);
    if (repair !== undefined) this.#repairs.push({ problem, repair });
  }

  addLayer(problem: FsckProblem, manifest: string): void {
    this.problems.push(problem);
    this.#layers.push({ problem, manifest });
  }

  /** Removes what is damaged first; then the store can be opened, and layers are unpacked anew. */
  async mend({ engine, signal }: FsckOptions, inUse: readonly string[]): Promise<FsckReport['collected']> {
    if (!this.#repair) return undefined;
    for (const { problem, repair } of this.#repairs) {
      signal?.throwIfAborted();
      problem.mended = await repair();
    }
    const images = await openImages({ dataDirectory: engine.dataDirectory, inUse: () => inUse, log: () => {} });
    try {
      for (const { problem, manifest } of this.#layers) {
        signal?.throwIfAborted();
        await images.adopt(manifest, images.get(manifest)?.references ?? []);
        problem.mended = 'unpacked anew';
      }
      return await images.collect();
    } finally {
      await images.close();
    }
  }
}

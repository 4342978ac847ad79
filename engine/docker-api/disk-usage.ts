/** `/system/df`: what lies on the disk, looked at when it is asked for. */
import { diskUse } from '../containers/disk-use.ts';
import { buildCacheUsage } from './build-cache.ts';
import { answerJson, type Call } from './call.ts';
import { containerSummary } from './containers.ts';
import { DockerError } from './errors.ts';
import { imageSummary } from './images.ts';
import { volumeView } from './volume-routes.ts';

const TYPES = ['container', 'image', 'volume', 'build-cache'];

export async function systemDiskUsage(call: Call): Promise<void> {
  const wanted = call.query.getAll('type');
  for (const type of wanted)
    if (!TYPES.includes(type))
      throw new DockerError(400, `unknown object type: ${type}; known are ${TYPES.join(', ')}`);
  const has = (type: string): boolean => wanted.length === 0 || wanted.includes(type);
  const { layersSize, images } = has('image') ? imageUsage(call) : { layersSize: 0, images: null };
  answerJson(call, {
    LayersSize: layersSize,
    Images: images,
    Containers: has('container')
      ? await Promise.all(call.engine.containers().map((one) => containerSummary(call, one, true)))
      : null,
    Volumes: has('volume') ? await volumeUsage(call) : null,
    BuildCache: has('build-cache') ? buildCacheUsage(call) : null,
    BuilderSize: 0,
  });
}

/** A layer that several images have lies on the disk once. */
function imageUsage(call: Call): { layersSize: number; images: unknown[] } {
  const { images } = call.engine;
  const users = new Map<string, number>();
  const sizes = new Map<string, number>();
  const all = images.list();
  for (const image of all) {
    const layerSizes = images.layerSizes?.(image) ?? [];
    for (const [index, layer] of image.config.layers.entries()) {
      users.set(layer, (users.get(layer) ?? 0) + 1);
      sizes.set(layer, layerSizes[index] ?? 0);
    }
  }
  const sum = (layers: readonly string[]): number =>
    layers.reduce((total, layer) => total + (sizes.get(layer) ?? 0), 0);
  const containers = call.engine.containers();
  return {
    layersSize: sum([...sizes.keys()]),
    images: all.map((image) =>
      imageSummary(call, image, {
        shared: sum([...new Set(image.config.layers)].filter((layer) => (users.get(layer) ?? 0) > 1)),
        containers: containers.filter(({ imageId }) => imageId === image.id).length,
      }),
    ),
  };
}

async function volumeUsage(call: Call): Promise<unknown[]> {
  const usage = [];
  // One after the other: each walks a tree.
  for (const volume of call.docker.volumes.list()) {
    const Size = await diskUse(volume.directory);
    usage.push({
      ...volumeView(volume),
      UsageData: { Size, RefCount: call.docker.usersOf(volume.name).length },
    });
  }
  return usage;
}

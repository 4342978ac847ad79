/** What images take on the disk: a layer that several have lies there once. Pure. */
import type { Image } from '../engine.ts';

export interface ImageUsage {
  image: Image;
  /** Unpacked bytes of layers that no other image has: what its removal would free. */
  uniqueBytes: number;
  sharedBytes: number;
}

/** @param layerSizes  unpacked bytes of each layer, in the order of `config.layers` */
export function imageUsage(images: readonly Image[], layerSizes: (image: Image) => readonly number[]): ImageUsage[] {
  const users = new Map<string, number>();
  for (const { config } of images)
    for (const layer of new Set(config.layers)) users.set(layer, (users.get(layer) ?? 0) + 1);
  return images.map((image) => {
    const sizes = layerSizes(image);
    const bytes = { uniqueBytes: 0, sharedBytes: 0 };
    for (const [index, layer] of image.config.layers.entries()) {
      if (image.config.layers.indexOf(layer) < index) continue;
      bytes[(users.get(layer) ?? 0) > 1 ? 'sharedBytes' : 'uniqueBytes'] += sizes[index] ?? 0;
    }
    return { image, ...bytes };
  });
}

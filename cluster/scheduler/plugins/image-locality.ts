import type { Plugin } from '../plugin.ts';

const MIB = 1024 * 1024;
/** Below it a pull is soon done, and above it all pulls are alike. */
const least = 23 * MIB;
const mostPerContainer = 1000 * MIB;

/** A name without tag or digest means `latest`. */
function normalized(image: string): string {
  return image.lastIndexOf(':') <= image.lastIndexOf('/') ? `${image}:latest` : image;
}

/**
 * A node that has the pod's images already is better, by their size. What only few nodes have counts less, so that not
 * everything goes where the image went first.
 */
export const imageLocality: Plugin = {
  name: 'ImageLocality',
  weight: 1,
  score({ pod }, cluster, candidates) {
    const containers = [...(pod.spec?.initContainers ?? []), ...(pod.spec?.containers ?? [])];
    const images = containers.map(({ image = '' }) => normalized(image));
    const spread = new Map(images.map((image) => [image, cluster.nodesWithImage(image) / cluster.nodes().length]));
    // None has any: all are alike, and nothing is said.
    if (candidates.length === 0 || [...spread.values()].every((part) => part === 0)) return undefined;
    const most = mostPerContainer * containers.length;
    return {
      likeness: images.join(),
      score(node) {
        let sum = 0;
        for (const image of images) sum += Math.trunc((node.images.get(image) ?? 0) * (spread.get(image) ?? 0));
        return Math.trunc((100 * (Math.min(Math.max(sum, least), most) - least)) / (most - least));
      },
    };
  },
};

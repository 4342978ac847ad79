/** What follows from a droplet's origin. */
import type { Droplet } from './types.ts';

/** By the image's own entry point, user and port; else by our launcher, as user 1000, on port 8080. */
export function startsByImage({ spec }: Pick<Droplet, 'spec'>): boolean {
  return spec.lifecycle === 'docker' || spec.ownEntryPoint === true;
}

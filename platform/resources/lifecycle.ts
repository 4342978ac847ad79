/** How source becomes a droplet. `cnb` is done as `buildpack` is; Cloud Foundry tells its clients of it by another name. */
export type Lifecycle = { type: 'buildpack' | 'cnb'; buildpacks: string[]; stack: string } | { type: 'docker' };

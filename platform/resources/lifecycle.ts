/** How source becomes a droplet. `cnb` is done as `buildpack` is; Cloud Foundry tells its clients of it by another name. */
export type Lifecycle = SourceLifecycle | { type: 'docker' };

export interface SourceLifecycle {
  type: 'buildpack' | 'cnb';
  buildpacks: string[];
  stack: string;
  /** The app has logins for the registries of images that it is built by (`registry-logins.ts`). */
  credentials?: true;
}

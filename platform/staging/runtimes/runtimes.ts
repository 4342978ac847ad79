/**
 * Runtimes of languages, made of the packages of the stack's own Debian release, when a build first asks for one.
 *
 * A runtime is one or two layers over the stack, with every file where its package has it, so that nothing must be moved:
 *   launch  what a started app needs: interpreter or virtual machine, their libraries. Mounted in builds, and part of droplets.
 *   build   what only builds need: compilers, package managers, headers. Mounted in builds, never part of a droplet.
 * Each holds what the layers below it lack, `/cnb/runtimes/<name>` (a JSON record of its packages and their versions), and
 * `/var/lib/dpkg/status.d/<name>` for scanners.
 *
 * Names are `<language>-<version>`, as `python-3.11`; `<name>-dev` has the headers and the C compiler for extensions, over the
 * runtime of that name. What the release offers is known since the stack was made (`Offer`), and stands in each build
 * container in `/cnb/runtimes.json`: buildpacks choose from it and tell who asks for something else what there is.
 *
 * A build asks by the entries of its plan (`metadata.runtime`). The lifecycle says in its result which it asked for; where
 * one is not mounted, the platform makes it, and starts the build again with it. What the last build of an app used is
 * mounted at once the next time. Names come out of build containers and are hostile: only those that are offered are made.
 */
import type { Layer } from '../images/oci.ts';

export interface Offer {
  name: string;
  language: string;
  /** Of the package, without Debian's revision: `3.11.2`, `17.0.15`. */
  version: string;
}

export interface Runtime {
  name: string;
  launch?: Layer;
  build?: Layer;
  /** Debian's packages in each: version by name. */
  packages: { launch: Record<string, string>; build: Record<string, string> };
}

export const RUNTIMES_REPOSITORY = 'sampan/runtimes';

export interface Runtimes {
  /**
   * In the order of the names. Each is made once, however many ask at the same time.
   * @throws StagingError where a name is not offered, or Debian's packages cannot be had
   */
  provide(names: readonly string[], onProgress: (message: string) => void): Promise<Runtime[]>;
  /** Names of those that were made for somebody. */
  made(): Promise<string[]>;
}

/**
 * Staging's contract: from source bits to a droplet.
 *
 * Everything is in the registry, in repositories below `cf/<app guid>`; the platform keeps no files of its own.
 *   package   an image whose one layer holds the source at /workspace, owned by the build user (uid and gid 1000), with an
 *             index blob that says which file (sha1, size, mode) lies at which offset of the uncompressed layer: so a file
 *             that some package has need not be sent again, and is read from there by range
 *   build     a pod whose image is stack layers + buildpacks layer + cached layers of the last build + the package's layer:
 *             nothing is copied in, everything is mounted. No credentials, no service account, network outwards only.
 *   droplet   an image: stack layers (shared), launcher, one layer for each launch layer of a buildpack (runtime,
 *             dependencies), the app. Taken out of the build pod as tar streams by the trusted exporter, in the platform
 *             process, which treats every byte as hostile, makes it deterministic (sorted, times fixed, ids 1000:1000) and
 *             pushes only what the registry lacks.
 *
 * A droplet's entry point is `/cnb/launcher`. With no argument it starts the process `web`; one argument that names a process
 * of the droplet starts that; any other single argument is a command line for bash; `--` and words are a program without a
 * shell. It sets the environment that the buildpacks left and replaces itself, so signals reach the app. It runs as 1000:1000
 * in /workspace.
 *
 * Rooms: `bits/` packages; `stack/` the base from Debian packages; `builder/` what every build starts from; `buildpacks/` and
 * `lifecycle/` run inside the build pod, and share no code with the rest but the protocol, the npm client and the form of
 * Java's trust store; `builds/` pods, queue, status; `export/` the trusted side; `droplets/` droplets as files; `images/`
 * registry and image formats.
 *
 * The buildpack contract is Cloud Native Buildpacks' (buildpack API 0.10): `bin/detect`, `bin/build`, `buildpack.toml`,
 * `<layers>/<name>.toml` with `launch`, `build`, `cache` flags and metadata, `launch.toml` with processes, `store.toml`,
 * `profile.d`, `exec.d`, `env/`, `env.launch/`, `env.build/`. Ours are in `buildpacks/`, written to that contract alone.
 */
import type { Readable } from 'node:stream';
import type { Shipped } from './catalogue.ts';

/** A file as Cloud Foundry's resource matching names it. */
export interface Resource {
  /** sha1, 40 lowercase hexadecimal digits. */
  sha1: string;
  sizeBytes: number;
  /** Relative, `/`-separated. */
  path: string;
  /** Octal permission bits as a number. */
  mode: number;
}

export interface Bits {
  /** Those that need not be sent. Looks at the packages of the apps named. */
  match(resources: Resource[], apps: string[]): Promise<Resource[]>;
  /**
   * Makes a package of a zip file's entries and of matched resources. Zip entries are hostile: `..`, absolute paths,
   * devices, links that lead out, a bomb (more than `limits.bytes` or `limits.files`), names with control characters.
   * Rejects with `StagingError` `invalid-bits` whose message names the entry.
   */
  store(input: {
    app: string;
    zip?: string;
    resources: Resource[];
    /** Other apps whose files were matched too. */
    sources?: readonly string[];
  }): Promise<{ image: string; checksum: string; sizeBytes: number }>;
  /** The package as a zip, for download. */
  read(image: string): Promise<Readable>;
  /** A package of another app as one of this app's own, which stays when the other goes. @returns its image */
  copy(input: { image: string; app: string }): Promise<string>;
  /** What its builds left for the next one, which begins as if it were the first. */
  forgetBuilds(app: string): Promise<void>;
  remove(app: string): Promise<void>;
}

export interface StoredDroplet {
  image: string;
  checksum: string;
  sizeBytes: number;
  /** Command by type. */
  processTypes: Record<string, string>;
  buildpacks: { name: string; version: string }[];
  stack: string;
}

/**
 * Droplets as files and for other apps. A file is an OCI image layout in a gzip'd tar, the stack included: `docker load` and
 * `skopeo` (`oci-archive:`) read it too, and it runs on another platform that has never seen its app.
 */
export interface DropletFiles {
  read(image: string): Promise<Readable>;
  /** Its bill of materials: CycloneDX in JSON; undefined where none was made. */
  billOfMaterials(image: string): Promise<string | undefined>;
  /**
   * Takes such a file for an app. Its bytes are hostile: what is no image whose entry point is the launcher, is for
   * another processor, lacks a layer, or is larger than the limits is refused (`invalid-bits`, `too-large`).
   */
  store(input: { app: string; droplet: string; file: string; signal?: AbortSignal }): Promise<StoredDroplet>;
  /** A droplet of another app as this app's own, which stays when the other goes. @returns its image */
  copy(input: { image: string; app: string; droplet: string }): Promise<string>;
  /**
   * The same app on the stack and the runtimes that there are now, without a build: another droplet of the app. Its bill of
   * materials follows. @returns undefined where it is on the newest. @throws StagingError `not-rebasable` that says what to do
   */
  rebase(input: {
    image: string;
    droplet: string;
  }): Promise<{ image: string; checksum: string; sizeBytes: number } | undefined>;
}

/** Buildpacks that administrators bring. */
export interface BuildpackFiles {
  /** Takes a zip, hostile as every upload; it replaces what was there. @throws StagingError `invalid-bits`, `too-large` */
  store(input: {
    buildpack: string;
    file: string;
    signal?: AbortSignal;
  }): Promise<{ checksum: string; sizeBytes: number }>;
  remove(buildpack: string): Promise<void>;
}

export type StagingErrorCode =
  | 'invalid-bits'
  | 'too-large'
  | 'no-image' // of another registry
  | 'no-app-detected' // NoAppDetectedError
  | 'build-failed' // BuildpackCompileFailed
  | 'timed-out' // StagingTimeExpired
  | 'cancelled'
  | 'no-start-command'
  | 'out-of-memory'
  | 'disk-full'
  | 'not-rebasable'
  | 'registry' // the registry did not answer
  | 'internal';

export class StagingError extends Error {
  readonly code: StagingErrorCode;
  constructor(code: StagingErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'StagingError';
    this.code = code;
  }
}

/** Watches `Build` objects in state STAGING, does them, and writes their status and their `Droplet`. */
export interface Staging {
  readonly bits: Bits;
  readonly droplets: DropletFiles;
  readonly buildpackFiles: BuildpackFiles;
  /** Builds of the stack and the buildpack layer into the registry, where a recipe changed. Resolves when builds can run. */
  prepare(onProgress?: (message: string) => void): Promise<void>;
  /**
   * Makes the stack anew of the packages that there are now, and the runtimes that apps have. Builds that come use it; what runs
   * stays as it is until it is built or rebased.
   */
  updateStack(): Promise<void>;
  /** Those that the platform ships. */
  buildpacks(): Shipped[];
  close(): Promise<void>;
}

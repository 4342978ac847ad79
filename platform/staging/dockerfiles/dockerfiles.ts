/**
 * Source with a Dockerfile: the engine of the platform's own host builds it, in the network of a build pod.
 *
 *   pod      holds the place of the build: the label that staging's security groups select, packets that reach neither this host
 *            nor other pods, no credentials. It sleeps; what it is of has the size of the stack, which every node has.
 *   steps    each `RUN` is a container in the sandbox of that pod, so with its network and its user namespace, and has the limits
 *            of the build. Nothing of the pod's file system is in it.
 *   context  the package, streamed out of the registry; nothing is unpacked.
 *   images   come from their registries each time, with the app's own logins or none. Of this platform's own registry a Dockerfile has
 *            the images that everybody may have, and those of its own app.
 *   result   is pushed to the app's repository: an image that starts by its own entry point, as a Docker image does.
 *
 * The variables of a build are its arguments (`ARG`), and so are `SAMPAN_REGISTRY` (this platform's registry, `host:port`) and
 * `SAMPAN_STACK` (the stack's image, for `FROM`).
 *
 * A builder that goes away in the middle is waited for and asked again: the steps that were done are in its cache. A build that is
 * cancelled, or whose platform dies, leaves no container: the connection is its life.
 */
export interface DockerfileRequest {
  /** A tar archive. Asked for anew by each attempt. */
  context: () => AsyncIterable<Uint8Array>;
  /** Within the context. */
  dockerfile: string;
  buildArgs: Readonly<Record<string, string>>;
  /** Of registries of base images, by host. */
  logins: Readonly<Record<string, { username: string; password: string }>>;
  /** `host/repository:tag` of the platform's own registry: what is built is there when it is done. */
  reference: string;
  /** Id of the container in whose network the steps are. */
  container: string;
  limits: { memoryBytes: number; cpuMillis: number; pids: number; diskBytes: number };
  /** See the engine's `Confinement`. */
  confined: { cacheScope: string; refused: readonly string[]; allowed: readonly string[] };
  onLine: (line: string) => void;
  signal: AbortSignal;
}

export interface DockerfileBuilder {
  /** Name of the node on which it builds: the pod has to be there. */
  readonly node: string;
  /**
   * @throws StagingError `build-failed` in the builder's words, `out-of-memory`, `disk-full`; `internal` where it does not answer
   */
  build(request: DockerfileRequest): Promise<void>;
}

/** How a Dockerfile is named among buildpacks: alone for the one at the top, `dockerfile:PATH` for another. */
export const DOCKERFILE_BUILDPACK = 'dockerfile';

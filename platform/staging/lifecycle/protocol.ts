/**
 * What the build pod tells the exporter, and how. This folder runs inside the pod, beside code that nobody trusts: the
 * exporter checks every field (`export/build-result.ts`) and opens no path that is named here except below `/layers`
 * and `/workspace`, through tar.
 *
 * The lifecycle writes the result to `RESULT_PATH`, then a line to standard output that begins with `RESULT_LINE`, and
 * stays until the pod is deleted, so that the layers can be read out of it. A build that fails ends instead,
 * with one of `exitCodes`, and its last words are on standard output.
 */
export const RESULT_PATH = '/layers/.sampan-result.json';

/**
 * The unit separator makes it a line that no program prints by chance; a program that prints it gains nothing. A result
 * of at most `LONGEST_SAID` characters follows on the same line, after a space: reading the file would take a program
 * in the container.
 */
export const RESULT_LINE = '\u001f sampan: build finished';
export const LONGEST_SAID = 6000;

/** As in Cloud Native Buildpacks' lifecycle where it has a code for the case. */
export const exitCodes = {
  notDetected: 20,
  detectError: 21,
  buildError: 51,
  outOfMemory: 52,
  diskFull: 53,
  internal: 1,
} as const;

/** `SAMPAN_BUILDPACKS`, as JSON: which buildpacks a build tries. Absent: those of the order file. */
export interface WantedBuildpacks {
  /** The user named them, so that there is one group. */
  chosen: boolean;
  groups: WantedBuildpack[][];
  /** Something else is done where none fits, so that it is no error to be told. */
  fallback?: boolean;
}

/**
 * One that the platform ships, by its id; one that somebody uploaded, in a directory below `/cnb/uploaded`; or one to be
 * fetched from an address.
 */
export type WantedBuildpack = ({ id: string } | { directory: string; name: string } | { url: string }) & {
  optional?: boolean;
};

export interface BuildResult {
  /**
   * Names of the runtimes that the build asks for (`runtimes/runtimes.ts`). Where one of them was not mounted, everything
   * else is empty, and the build has to be done again with it.
   */
  runtimes: string[];
  buildpacks: ResultBuildpack[];
  /** In order; the last of a type counts. */
  processes: ResultProcess[];
  /** Nothing below /workspace differs from the package, `workspaceLinks` aside. */
  workspaceUnchanged: boolean;
  /** Symbolic links that the build added at the top of a workspace that it left alone otherwise. */
  workspaceLinks: { name: string; target: string }[];
  labels: { key: string; value: string }[];
  /** Files of the source that were opened, as they were named before; absent where that is not known. */
  opened?: string[];
}

export interface ResultBuildpack {
  id: string;
  version: string;
  layers: ResultLayer[];
  /** `store.toml`, to be restored for the next build. */
  store?: string;
  /** What else it put into the app. */
  components?: Component[];
}

/** Of a bill of materials (CycloneDX 1.5, "component"). */
export interface Component {
  type: string;
  name: string;
  version?: string;
  purl?: string;
}

export interface ResultLayer {
  name: string;
  launch: boolean;
  build: boolean;
  cache: boolean;
  /** `<layer>.toml` without its types: what the next build finds. */
  metadata: string;
  /**
   * `changed`: read it from the pod. `kept`: it is what was restored. `absent`: its metadata were restored, its content
   * was not, and the buildpack says that it is still right (launch layers).
   */
  content: 'changed' | 'kept' | 'absent';
  /** Environment for launch, in the order in which it is applied. */
  environment: EnvironmentChange[];
  /** What a launch layer that changed is made of. */
  components?: Component[];
  /** Paths of scripts to be sourced and of programs to be run at launch. */
  profile: string[];
  execD: string[];
}

export interface EnvironmentChange {
  name: string;
  /** buildpack specification, "Environment Variable Modification Rules" */
  action: 'override' | 'default' | 'append' | 'prepend';
  value: string;
  delimiter: string;
  /** Only for this type of process. */
  process?: string;
}

export interface ResultProcess {
  type: string;
  command: string[];
  args: string[];
  default: boolean;
  workingDirectory?: string;
}

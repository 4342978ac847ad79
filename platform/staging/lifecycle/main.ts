/**
 * The build pod's program: detects, builds, writes the result, stays.
 *
 * Environment: `SAMPAN_BUILDPACKS` says which buildpacks are tried (`WantedBuildpacks`; absent: the order file decides).
 * Directories can be moved by `CNB_APP_DIR`, `CNB_LAYERS_DIR`, `CNB_PLATFORM_DIR` and `SAMPAN_BUILDPACKS_DIR`, for tests.
 */
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build, type BuildOptions } from './build.ts';
import { type Buildpack, LifecycleError } from './buildpack.ts';
import { detect } from './detect.ts';
import { platformVariables } from './environment.ts';
import { OpenedFiles } from './opened.ts';
import { type BuildResult, exitCodes, LONGEST_SAID, RESULT_LINE, RESULT_PATH } from './protocol.ts';
import { isMounted, plannedRuntimes } from './runtimes.ts';
import { saidWanted, wanted } from './wanted.ts';

/** Names of the platform's own: buildpacks get them from us, never from the user. */
const RESERVED = /^(CNB_|SAMPAN_|PATH$|HOME$|LD_PRELOAD$|LD_LIBRARY_PATH$|NODE_OPTIONS$)/;

async function main(): Promise<void> {
  const workspace = process.env['CNB_APP_DIR'] ?? '/workspace';
  const layers = process.env['CNB_LAYERS_DIR'] ?? '/layers';
  const platform = process.env['CNB_PLATFORM_DIR'] ?? '/platform';
  const root = process.env['SAMPAN_BUILDPACKS_DIR'] ?? '/cnb/buildpacks';
  const scratch = mkdtempSync(join(process.env['TMPDIR'] ?? '/tmp', 'lifecycle-'));
  mkdirSync(layers, { recursive: true });
  const environment = environmentFor(platform, workspace);
  const options = { workspace, layers, platform, scratch, environment };
  const watched = OpenedFiles.watch(workspace);
  const group = await detect({ ...options, ...(await wanted(root, scratch)) });
  process.stdout.write(`-----> ${group.map(({ buildpack }) => `${buildpack.name} ${buildpack.version}`).join(', ')}\n`);
  const built = await builtOrWanting({ ...options, group });
  const opened = watched?.take();
  const result: BuildResult = opened === undefined ? built : { ...built, opened };
  const text = JSON.stringify(result);
  writeFileSync(process.env['SAMPAN_RESULT'] ?? RESULT_PATH, text);
  process.stdout.write(`${RESULT_LINE}${text.length > LONGEST_SAID ? '' : ` ${text}`}\n`);
}

/** A build that lacks a runtime ends early with its name: the platform begins it again. */
async function builtOrWanting(options: BuildOptions): Promise<BuildResult> {
  // A builder image brings what its buildpacks need.
  const planned = process.env['SAMPAN_BUILDER'] === '1' ? [] : plannedRuntimes(options.group);
  const nothing = { buildpacks: [], processes: [], workspaceUnchanged: true, workspaceLinks: [], labels: [] };
  if (!planned.every(isMounted)) return { ...nothing, runtimes: planned };
  const result = await build(options);
  return { ...result, runtimes: [...new Set([...planned, ...result.runtimes])] };
}

function environmentFor(
  platform: string,
  workspace: string,
): (buildpack: Buildpack) => Record<string, string | undefined> {
  const user = platformVariables(platform);
  return (buildpack) => {
    const variables: Record<string, string | undefined> = { ...process.env };
    if (!buildpack.clearEnvironment) {
      for (const [name, value] of Object.entries(user)) if (!RESERVED.test(name)) variables[name] = value;
    }
    variables['CNB_STACK_ID'] ??= 'dev.sampan.stacks.base';
    variables['CNB_TARGET_OS'] = 'linux';
    variables['CNB_TARGET_ARCH'] = process.arch === 'x64' ? 'amd64' : process.arch;
    variables['CNB_APP_DIR'] = workspace;
    variables['SAMPAN_NODE'] = process.execPath;
    return variables;
  };
}

try {
  await main();
  if (process.env['SAMPAN_STAY'] === '1') {
    // A timer keeps the loop alive; SIGTERM, which ends Node by default except as process 1, is obeyed.
    process.on('SIGTERM', () => process.exit(0));
    setInterval(() => undefined, 2 ** 30);
  }
} catch (error) {
  const code = error instanceof LifecycleError ? error.exitCode : exitCodes.internal;
  const quiet = code === exitCodes.notDetected && saidWanted()?.fallback === true;
  const message =
    error instanceof LifecycleError ? error.message : error instanceof Error ? error.stack : String(error);
  if (!quiet) process.stdout.write(`ERROR: ${message}\n`);
  process.exitCode = code;
}

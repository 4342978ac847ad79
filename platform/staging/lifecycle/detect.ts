/** Detection: the first group of buildpacks that fits the source (buildpack specification, "Phase #1: Detection"). */
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'smol-toml';
import { type Buildpack, layersName, LifecycleError, type OrderEntry, runProgram } from './buildpack.ts';
import { text } from './environment.ts';
import { exitCodes } from './protocol.ts';

export interface PlanEntry {
  name: string;
  metadata?: Record<string, unknown>;
}

interface PlanPart {
  provides: { name: string }[];
  requires: PlanEntry[];
}

export interface Detected {
  buildpack: Buildpack;
  /** What this buildpack is asked for: the entries of its `plan.toml`. */
  plan: PlanEntry[];
}

export interface DetectOptions {
  /** Buildpacks by the ids of the groups. */
  buildpacks: ReadonlyMap<string, Buildpack>;
  groups: OrderEntry[][];
  /** The user named them: classic ones are not asked whether they fit, as in Cloud Foundry. */
  chosen: boolean;
  workspace: string;
  platform: string;
  /** For files that are made on the way. */
  scratch: string;
  environment: (buildpack: Buildpack) => Record<string, string | undefined>;
}

interface Attempt {
  passed: boolean;
  code: number;
  output: string;
  alternatives: PlanPart[];
}

/** @throws LifecycleError `notDetected` */
export async function detect(options: DetectOptions): Promise<Detected[]> {
  const attempts = new Map<string, Promise<Attempt>>();
  const failures: string[] = [];
  for (const group of options.groups) {
    const passed: { buildpack: Buildpack; optional: boolean; alternatives: PlanPart[] }[] = [];
    let fits = true;
    for (const entry of group) {
      const buildpack = options.buildpacks.get(entry.id);
      if (buildpack === undefined) {
        throw new LifecycleError(exitCodes.notDetected, `there is no buildpack ${entry.id}`);
      }
      const attempt = await (attempts.get(entry.id) ?? remember(attempts, entry.id, tryOne(buildpack, options)));
      if (attempt.passed)
        passed.push({ buildpack, optional: entry.optional === true, alternatives: attempt.alternatives });
      else if (entry.optional !== true) {
        fits = false;
        if (attempt.code !== 100)
          failures.push(`${entry.id}: bin/detect ended with ${attempt.code}\n${attempt.output}`);
        break;
      }
    }
    if (!fits || passed.length === 0) continue;
    const resolved = resolve(passed);
    if (resolved !== undefined) return resolved;
  }
  for (const failure of failures) process.stdout.write(`${failure.trimEnd()}\n`);
  if (failures.length > 0) throw new LifecycleError(exitCodes.detectError, 'a buildpack could not look at the source');
  throw new LifecycleError(exitCodes.notDetected, 'no buildpack fits the source');
}

function remember<Value>(map: Map<string, Promise<Value>>, key: string, value: Promise<Value>): Promise<Value> {
  map.set(key, value);
  return value;
}

async function tryOne(buildpack: Buildpack, options: DetectOptions): Promise<Attempt> {
  if (buildpack.kind === 'classic') return await tryClassic(buildpack, options);
  const scratch = join(options.scratch, layersName(buildpack.id));
  mkdirSync(scratch, { recursive: true });
  const plan = join(scratch, 'detect-plan.toml');
  const { code, output } = await runProgram(join(buildpack.directory, 'bin', 'detect'), {
    args: [options.platform, plan],
    workingDirectory: options.workspace,
    environment: {
      ...options.environment(buildpack),
      CNB_BUILDPACK_DIR: buildpack.directory,
      CNB_PLATFORM_DIR: options.platform,
      CNB_BUILD_PLAN_PATH: plan,
    },
    quiet: true,
  });
  const file = parse(text(plan)) as Partial<PlanPart> & { or?: Partial<PlanPart>[] };
  const alternatives = [file, ...(file.or ?? [])].map(({ provides, requires }) => ({
    provides: provides ?? [],
    requires: requires ?? [],
  }));
  return { passed: code === 0, code, output, alternatives };
}

const NO_PLAN: PlanPart[] = [{ provides: [], requires: [] }];

async function tryClassic(buildpack: Buildpack, options: DetectOptions): Promise<Attempt> {
  const detect = join(buildpack.directory, 'bin', 'detect');
  if (options.chosen) return { passed: true, code: 0, output: '', alternatives: NO_PLAN };
  if (!existsSync(detect)) return { passed: false, code: 100, output: '', alternatives: NO_PLAN };
  const { code, output } = await runProgram(detect, {
    args: [options.workspace],
    workingDirectory: options.workspace,
    environment: options.environment(buildpack),
    quiet: true,
  });
  // Any status but 0 says that it does not fit.
  return { passed: code === 0, code: code === 0 ? 0 : 100, output, alternatives: NO_PLAN };
}

/**
 * Tries the alternatives in their order until everything that is required is provided by the same or an earlier
 * buildpack, and everything provided is required by somebody. An optional buildpack whose part fails is left out.
 */
function resolve(
  passed: { buildpack: Buildpack; optional: boolean; alternatives: PlanPart[] }[],
): Detected[] | undefined {
  let trials = 0;
  const choose = (index: number, chosen: (PlanPart | undefined)[]): Detected[] | undefined => {
    if (index < passed.length) {
      const { optional, alternatives } = passed[index] ?? { optional: true, alternatives: [] };
      for (const part of optional ? [...alternatives, undefined] : alternatives) {
        if (trials > 10_000) return undefined;
        const found = choose(index + 1, [...chosen, part]);
        if (found !== undefined) return found;
      }
      return undefined;
    }
    trials += 1;
    return planFor(
      passed.map(({ buildpack }) => buildpack),
      chosen,
    );
  };
  return choose(0, []);
}

function planFor(buildpacks: Buildpack[], chosen: (PlanPart | undefined)[]): Detected[] | undefined {
  const providers = new Map<string, number[]>();
  const wanted = new Map<string, PlanEntry[]>();
  for (const [index, part] of chosen.entries()) {
    for (const { name } of part?.provides ?? []) providers.set(name, [...(providers.get(name) ?? []), index]);
    for (const entry of part?.requires ?? []) {
      if (!providers.has(entry.name)) return undefined;
      wanted.set(entry.name, [...(wanted.get(entry.name) ?? []), entry]);
    }
  }
  for (const name of providers.keys()) if (!wanted.has(name)) return undefined;
  const plans: PlanEntry[][] = buildpacks.map(() => []);
  for (const [name, entries] of wanted) for (const index of providers.get(name) ?? []) plans[index]?.push(...entries);
  const detected: Detected[] = [];
  for (const [index, buildpack] of buildpacks.entries()) {
    if (chosen[index] !== undefined) detected.push({ buildpack, plan: plans[index] ?? [] });
  }
  return detected.length === 0 ? undefined : detected;
}

/** App manifests (YAML) as `apply_manifest` takes them: read, checked, and made one plan for each app. */
import type { RegistryLogins } from '../../resources/registry-logins.ts';
import type { HealthCheck, SidecarFacts } from '../../resources/types.ts';
import { DOCKERFILE_BUILDPACK } from '../../staging/dockerfiles/dockerfiles.ts';
import { parseLogins } from '../operations/registry-logins.ts';
import { sidecarProblems } from '../operations/sidecars.ts';
import { CloudFoundryError, UnprocessableError } from '../errors.ts';
import { type FeaturePlan, readFeatures } from './features.ts';
import { readRoutes, type RoutePlan } from './routes.ts';
import { readServices, type ServicePlan } from './services.ts';
import {
  environmentProblems,
  isObject,
  LEAST_MEMORY,
  MOST_MEGABYTES,
  nameProblem,
  parseMegabytes,
} from '../validate.ts';

export interface ProcessPlan {
  type: string;
  instances?: number;
  memoryMb?: number;
  diskMb?: number;
  logRateLimitBytes?: number;
  /** Null: the droplet's again. */
  command?: string | null;
  healthCheck?: Partial<HealthCheck>;
  readinessCheck?: Partial<HealthCheck>;
}

export interface AppPlan {
  name: string;
  lifecycle?: 'buildpack' | 'cnb' | 'docker';
  buildpacks?: string[];
  stack?: string;
  /** Of registries that builder images are in. */
  logins?: RegistryLogins;
  dockerImage?: string;
  dockerUsername?: string;
  environment: Record<string, string | null>;
  processes: ProcessPlan[];
  sidecars: SidecarFacts[];
  features: FeaturePlan;
  services: ServicePlan[];
  routes: RoutePlan[];
  noRoute: boolean;
  randomRoute: boolean;
  defaultRoute: boolean;
  labels: Record<string, string | null>;
  annotations: Record<string, string | null>;
  /** As it was written, for the difference. */
  source: Record<string, unknown>;
}

/** Shown in no difference. */
export const LOGINS = 'cnb-credentials';

const KNOWN = new Set([
  'name',
  'buildpack',
  'buildpacks',
  'stack',
  'lifecycle',
  'docker',
  'dockerfile',
  'env',
  'processes',
  'routes',
  'no-route',
  'random-route',
  'default-route',
  'metadata',
  'path',
  'services',
  'sidecars',
  'features',
  LOGINS,
  'type',
  'instances',
  'memory',
  'disk_quota',
  'disk-quota',
  'log-rate-limit-per-second',
  'command',
  'health-check-type',
  'health-check-http-endpoint',
  'health-check-invocation-timeout',
  'health-check-interval',
  'timeout',
  'readiness-health-check-type',
  'readiness-health-check-http-endpoint',
  'readiness-health-check-invocation-timeout',
  'readiness-health-check-interval',
]);
const MAX_BYTES = 1024 * 1024;
/** Of instances, and of seconds. */
const MOST = 100_000;

export async function parseYaml(text: string): Promise<unknown> {
  if (text.length > MAX_BYTES)
    throw new CloudFoundryError(
      'MessageParseError',
      'Request invalid due to parse error: the manifest is larger than 1 MiB',
    );
  const refused = (why: string): CloudFoundryError =>
    new CloudFoundryError('MessageParseError', `Request invalid due to parse error: ${why}`);
  const { parseYamlText, YamlError } = await import('#lib/yaml/yaml.ts');
  try {
    // `<<` is what manifests share their settings with.
    const { value, doubts } = await parseYamlText(text, { merge: true });
    const [twice] = doubts;
    if (twice !== undefined) throw refused(`the key "${twice.key.slice(0, 60)}" is there twice, at line ${twice.line}`);
    return value;
  } catch (error) {
    throw error instanceof YamlError ? refused(error.message) : error;
  }
}

export async function parseManifest(text: string): Promise<AppPlan[]> {
  const document = await parseYaml(text);
  const applications = isObject(document) ? document.applications : undefined;
  if (!Array.isArray(applications) || applications.length === 0) {
    throw new UnprocessableError(['Cannot parse manifest with no applications.']);
  }
  const errors: string[] = [];
  const plans = applications.map((application: unknown, index) => {
    const reader = new ManifestReader(application, index, errors);
    return reader.plan();
  });
  const names = plans.map((plan) => plan.name.toLowerCase());
  for (const [index, name] of names.entries()) {
    if (names.indexOf(name) !== index) errors.push(`Manifest names the application "${plans[index]?.name}" twice`);
  }
  if (errors.length > 0) throw new UnprocessableError(errors);
  return plans;
}

class ManifestReader {
  readonly #source: Record<string, unknown>;
  readonly #errors: string[];
  readonly #label: string;

  constructor(application: unknown, index: number, errors: string[]) {
    this.#source = isObject(application) ? application : {};
    this.#errors = errors;
    const name = this.#source.name;
    this.#label =
      typeof name === 'string' && nameProblem(name) === undefined
        ? `For application '${name}'`
        : `For application at index ${index}`;
    if (!isObject(application)) this.#fail('it must be a mapping');
  }

  plan(): AppPlan {
    const source = this.#source;
    const problem = nameProblem(source.name);
    if (problem !== undefined) this.#fail(problem);
    const unknown = Object.keys(source).filter((key) => !KNOWN.has(key));
    if (unknown.length > 0)
      this.#fail(`unknown attribute(s) ${unknown.map((key) => JSON.stringify(key.slice(0, 60))).join(', ')}`);
    const docker = isObject(source.docker) ? source.docker : undefined;
    const metadata = isObject(source.metadata) ? source.metadata : {};
    return {
      name: typeof source.name === 'string' ? source.name : '',
      ...this.#lifecycle(docker),
      ...this.#logins(),
      environment: this.#environment(),
      processes: this.#processes(),
      sidecars: this.#sidecars(),
      features: readFeatures(source.features, (message) => this.#fail(message)),
      services: readServices(source.services, (message) => this.#fail(message)),
      routes: readRoutes(source.routes, (message) => this.#fail(message)),
      noRoute: this.#flag('no-route'),
      randomRoute: this.#flag('random-route'),
      defaultRoute: this.#flag('default-route'),
      labels: this.#texts(metadata.labels, 'metadata.labels'),
      annotations: this.#texts(metadata.annotations, 'metadata.annotations'),
      source,
    };
  }

  #fail(message: string): void {
    this.#errors.push(`${this.#label}: ${message}`);
  }

  #flag(name: string): boolean {
    const value = this.#source[name];
    if (value !== undefined && typeof value !== 'boolean') this.#fail(`"${name}" must be a boolean`);
    return value === true;
  }

  #lifecycle(docker: Record<string, unknown> | undefined): Partial<AppPlan> {
    const { buildpack, buildpacks, dockerfile, stack, lifecycle } = this.#source;
    const plan: Partial<AppPlan> = {};
    if (lifecycle !== undefined && lifecycle !== 'buildpack' && lifecycle !== 'cnb' && lifecycle !== 'docker') {
      this.#fail(`lifecycle ${JSON.stringify(lifecycle)} is not supported; use "buildpack", "cnb" or "docker"`);
    }
    if (docker) {
      plan.lifecycle = 'docker';
      if (typeof docker.image === 'string') plan.dockerImage = docker.image;
      else this.#fail('docker.image must be an image reference');
      if (typeof docker.username === 'string') plan.dockerUsername = docker.username;
    } else if (lifecycle === 'docker' || lifecycle === 'cnb') plan.lifecycle = lifecycle;
    if (typeof stack === 'string') plan.stack = stack;
    else if (stack !== undefined && stack !== null) this.#fail('Stack must be a string');
    const named = dockerfile === undefined || dockerfile === null ? undefined : this.#dockerfile(dockerfile);
    if (named !== undefined && (buildpacks ?? buildpack ?? docker) !== undefined)
      this.#fail('"dockerfile" cannot be combined with buildpacks or docker');
    const list = named ?? buildpacks ?? (buildpack === undefined ? undefined : [buildpack]);
    if (list !== undefined && list !== null) {
      if (Array.isArray(list)) {
        const names = list.filter((name) => name !== null && name !== 'default' && name !== 'null');
        if (names.every((name) => typeof name === 'string')) plan.buildpacks = names;
        else this.#fail('Buildpacks can only contain strings');
      } else this.#fail('Buildpacks must be an array');
      if (plan.lifecycle === 'docker' && (plan.buildpacks?.length ?? 0) > 0)
        this.#fail('Docker cannot be combined with buildpacks');
    }
    return plan;
  }

  #logins(): Pick<AppPlan, 'logins'> {
    const given = this.#source[LOGINS];
    if (given === undefined || given === null) return {};
    const { logins, problems } = parseLogins(given);
    for (const problem of problems) this.#fail(`${LOGINS}: ${problem}`);
    return { logins };
  }

  /** As it stands among buildpacks. */
  #dockerfile(path: unknown): string[] | undefined {
    if (typeof path === 'string')
      return [path === 'Dockerfile' ? DOCKERFILE_BUILDPACK : `${DOCKERFILE_BUILDPACK}:${path}`];
    this.#fail('"dockerfile" must be the path of a Dockerfile in the source');
    return undefined;
  }

  #environment(): Record<string, string | null> {
    const { env } = this.#source;
    if (env === undefined || env === null) return {};
    if (!isObject(env)) {
      this.#fail('Env must be a hash of keys and values');
      return {};
    }
    // YAML turns `1` and `true` into what they are not here.
    const texts = Object.fromEntries(
      Object.entries(env).map(([name, value]) => [
        name,
        value === null || typeof value === 'string'
          ? value
          : isObject(value) || Array.isArray(value)
            ? JSON.stringify(value)
            : String(value),
      ]),
    );
    for (const problem of environmentProblems(texts)) this.#fail(problem);
    return texts;
  }

  #processes(): ProcessPlan[] {
    const plans: ProcessPlan[] = [];
    const { processes } = this.#source;
    const web = this.#process(this.#source, 'web', '');
    if (Object.keys(web).length > 1) plans.push(web);
    if (processes === undefined || processes === null) return plans;
    if (!Array.isArray(processes)) {
      this.#fail('Processes must be an array of process configurations');
      return plans;
    }
    for (const entry of processes as unknown[]) {
      const type = isObject(entry) ? entry.type : undefined;
      if (!isObject(entry) || typeof type !== 'string' || !/^[A-Za-z0-9_-]{1,63}$/.test(type)) {
        this.#fail('all Processes must specify a type of letters, digits, "-" and "_"');
        continue;
      }
      const plan = this.#process(entry, type, `Process "${type}": `);
      const old = plans.findIndex((known) => known.type === type);
      if (old < 0) plans.push(plan);
      else plans[old] = { ...plans[old], ...plan };
    }
    return plans;
  }

  #sidecars(): SidecarFacts[] {
    const { sidecars } = this.#source;
    if (sidecars === undefined || sidecars === null) return [];
    if (!Array.isArray(sidecars)) {
      this.#fail('Sidecars must be an array of sidecar configurations');
      return [];
    }
    const plans: SidecarFacts[] = [];
    for (const entry of sidecars as unknown[]) {
      const { name, command, process_types: types, memory } = isObject(entry) ? entry : {};
      const isNamed = typeof name === 'string';
      const problem = nameProblem(name);
      const prefix = `Sidecar ${isNamed ? `"${name.slice(0, 60)}": ` : ''}`;
      if (problem) this.#fail(`${prefix}${problem}`);
      const isList = Array.isArray(types) && types.every((type) => typeof type === 'string');
      if (types !== undefined && !isList) this.#fail(`${prefix}Process types must be an array of strings`);
      const facts = {
        displayName: isNamed ? name : '',
        command: typeof command === 'string' ? command : '',
        processTypes: isList ? (types as string[]) : [],
      };
      for (const text of sidecarProblems(facts.command, facts.processTypes)) this.#fail(`${prefix}${text}`);
      const memoryMb = this.#size(`${prefix}Memory`, memory);
      plans.push({ ...facts, ...(memoryMb === undefined ? {} : { memoryMb }) });
    }
    return plans;
  }

  #size(label: string, value: unknown): number | undefined {
    if (value === undefined || value === null) return undefined;
    const megabytes = parseMegabytes(value);
    if (megabytes === undefined)
      this.#fail(`${label} ${JSON.stringify(value)} must use a supported unit, as in 256M or 1G`);
    else if (megabytes > MOST_MEGABYTES) this.#fail(`${label} must be less than or equal to ${MOST_MEGABYTES}M`);
    return megabytes;
  }

  #process(source: Record<string, unknown>, type: string, prefix: string): ProcessPlan {
    const plan: ProcessPlan = { type };
    const size = (name: string, value: unknown) => this.#size(`${prefix}${name}`, value);
    const whole = (name: string, min: number): number | undefined => {
      const value = source[name];
      if (value === undefined || value === null) return undefined;
      if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= MOST) return value;
      this.#fail(`${prefix}${name} must be an integer of ${min} to ${MOST}`);
      return undefined;
    };
    const memoryMb = size('Memory', source.memory);
    if (memoryMb !== undefined && memoryMb < LEAST_MEMORY)
      this.#fail(`${prefix}Memory must be at least ${LEAST_MEMORY}M: nothing starts in less`);
    const diskMb = size('Disk quota', source.disk_quota ?? source['disk-quota']);
    const instances = whole('instances', 0);
    if (memoryMb !== undefined) plan.memoryMb = memoryMb;
    if (diskMb !== undefined) plan.diskMb = diskMb;
    if (instances !== undefined) plan.instances = instances;
    const rate = source['log-rate-limit-per-second'];
    if (rate !== undefined && rate !== null) plan.logRateLimitBytes = this.#rate(rate, prefix);
    const { command } = source;
    if (command === null || command === 'null' || command === 'default') plan.command = null;
    else if (typeof command === 'string' && command.trim() !== '' && command.length <= 4096 && !command.includes('\0'))
      plan.command = command;
    else if (command !== undefined) this.#fail(`${prefix}Command must be between 1 and 4096 characters`);
    const healthCheck = this.#check(source, 'health-check-', prefix, whole);
    const timeout = whole('timeout', 1);
    if (healthCheck || timeout !== undefined)
      plan.healthCheck = { ...healthCheck, ...(timeout === undefined ? {} : { timeout }) };
    const readinessCheck = this.#check(source, 'readiness-health-check-', prefix, whole);
    if (readinessCheck) plan.readinessCheck = readinessCheck;
    return plan;
  }

  #check(
    source: Record<string, unknown>,
    name: string,
    prefix: string,
    whole: (name: string, min: number) => number | undefined,
  ): Partial<HealthCheck> | undefined {
    const check: Partial<HealthCheck> = {};
    const type = source[`${name}type`];
    if (type === 'none') check.type = 'process';
    else if (type === 'port' || type === 'process' || type === 'http') check.type = type;
    else if (type !== undefined) this.#fail(`${prefix}${name}type must be "port", "process", or "http"`);
    const endpoint = source[`${name}http-endpoint`];
    if (typeof endpoint === 'string' && /^\/[\x21-\x7e]{0,254}$/.test(endpoint)) check.endpoint = endpoint;
    else if (endpoint !== undefined) this.#fail(`${prefix}${name}http-endpoint must be a path that begins with "/"`);
    const invocationTimeout = whole(`${name}invocation-timeout`, 1);
    const interval = whole(`${name}interval`, 1);
    if (invocationTimeout !== undefined) check.invocationTimeout = invocationTimeout;
    if (interval !== undefined) check.interval = interval;
    return Object.keys(check).length > 0 ? check : undefined;
  }

  #rate(value: unknown, prefix: string): number {
    if (value === -1 || value === '-1') return -1;
    const match = /^(\d{1,9})\s*(B|K|KB|M|MB|G|GB)?$/i.exec(String(value));
    const unit = { B: 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3 }[(match?.[2] ?? 'B').charAt(0).toUpperCase()];
    if (match && unit !== undefined) return Number(match[1]) * unit;
    this.#fail(`${prefix}Log rate limit ${JSON.stringify(value)} must be -1 or a size, as in 16K`);
    return -1;
  }

  #texts(value: unknown, name: string): Record<string, string | null> {
    if (value === undefined || value === null) return {};
    if (isObject(value)) {
      return Object.fromEntries(
        Object.entries(value).map(([key, entry]) => [key, entry === null ? null : String(entry)]),
      );
    }
    this.#fail(`${name} must be a mapping`);
    return {};
  }
}

/**
 * The catalog of a broker, read from any text: what is wrong with it is told together, in the form of Cloud Foundry's own
 * messages, service by service and plan by plan.
 */
import { CLIENT_ID_EXPECTED, isClientId, isRedirectUri } from '../uaa/client-facts.ts';
import { isObject, type Json, parseObject } from './json.ts';
import { BrokerError } from './services.ts';

export interface CatalogService {
  id: string;
  name: string;
  description: string;
  bindable: boolean;
  planUpdateable: boolean;
  instancesRetrievable: boolean;
  bindingsRetrievable: boolean;
  allowContextUpdates: boolean;
  tags: string[];
  requires: string[];
  metadata: Json;
  dashboardClient?: DashboardClient;
  plans: CatalogPlan[];
}

/** A client of UAA that the broker's dashboard logs users in with. */
export interface DashboardClient {
  id: string;
  secret: string;
  redirectUri: string;
}

export interface CatalogPlan {
  id: string;
  name: string;
  description: string;
  free: boolean;
  bindable?: boolean;
  planUpdateable?: boolean;
  maximumPollingSeconds?: number;
  maintenanceInfo?: { version: string; description?: string };
  metadata: Json;
  schemas: { createInstance?: Json; updateInstance?: Json; createBinding?: Json };
}

export const CATALOG_BYTES = 4 * 1024 * 1024;
const MOST_SERVICES = 500;
const MOST_PLANS = 1_000;
const LONGEST = 255;
const LONGEST_DESCRIPTION = 10_000;
const LONGEST_TAGS = 2_048;
const LARGEST_METADATA = 256 * 1024;
const LARGEST_SCHEMA = 64 * 1024;
const LONGEST_MESSAGE = 16 * 1024;
const REQUIRES = ['syslog_drain', 'route_forwarding', 'volume_mount'];
/** As semver.org has it. */
const SEMVER =
  /^(0|[1-9]\d{0,17})\.(0|[1-9]\d{0,17})\.(0|[1-9]\d{0,17})(?:-[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?$/;

/** Reads fields of one object of the catalog, and keeps what is wrong with them. */
class Fields {
  readonly problems: string[] = [];
  readonly object: Json;

  constructor(object: Json) {
    this.object = object;
  }

  text(field: string, label: string, longest = LONGEST): string {
    const value = this.object[field];
    if (typeof value !== 'string') {
      const isMissing = value === undefined || value === null;
      this.problems.push(
        isMissing ? `${label} is required` : `${label} must be a string, but has value ${shown(value)}`,
      );
    } else if (value.trim() === '') this.problems.push(`${label} is required`);
    else if (value.length > longest) this.problems.push(`${label} must be ${longest} characters or less`);
    else if (/[\p{Cc}\p{Zl}\p{Zp}]/u.test(value) && longest === LONGEST) {
      this.problems.push(`${label} must not have control characters`);
    } else return value;
    return '';
  }

  flag(field: string, label: string, options: { required?: boolean } = {}): boolean | undefined {
    const value = this.object[field];
    if (typeof value === 'boolean') return value;
    if (value === undefined || value === null) {
      if (options.required) this.problems.push(`${label} is required`);
    } else this.problems.push(`${label} must be a boolean, but has value ${shown(value)}`);
    return undefined;
  }

  texts(field: string, label: string): string[] {
    const value = this.object[field];
    if (value === undefined || value === null) return [];
    if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value;
    this.problems.push(`${label} must be an array of strings, but has value ${shown(value)}`);
    return [];
  }

  hash(field: string, label: string, largest = LARGEST_METADATA): Json | undefined {
    const value = this.object[field];
    if (value === undefined || value === null) return undefined;
    if (!isObject(value)) this.problems.push(`${label} must be a hash, but has value ${shown(value)}`);
    else if (JSON.stringify(value).length > largest) this.problems.push(`${label} must be ${largest} bytes or less`);
    else return value;
    return undefined;
  }
}

/** @throws BrokerError `ServiceBrokerCatalogInvalid`, `ServiceBrokerCatalogIncompatible`, `ServiceBrokerRequestMalformed` */
export function readCatalog(text: string | undefined): CatalogService[] {
  const body = parseObject(text ?? '');
  if (!body) {
    throw new BrokerError(
      'The service broker returned an invalid response: expected valid JSON object in body. Please check that the URL points to a valid service broker.',
      { title: 'ServiceBrokerRequestMalformed' },
    );
  }
  const report = new Report();
  const entries = Array.isArray(body.services) ? (body.services as unknown[]) : [];
  if (entries.length === 0) report.add('Service broker must provide at least one service');
  if (entries.length > MOST_SERVICES) report.add(`Service broker must provide at most ${MOST_SERVICES} services`);
  const services = entries.slice(0, MOST_SERVICES).map((entry) => readService(entry, report));
  requireUnique(services, report);
  report.done();
  const volumes = services.filter(({ requires }) => requires.includes('volume_mount'));
  if (volumes.length > 0) {
    const lines = volumes.map(
      ({ name }) =>
        `Service ${name} is declared to be a volume mount service but support for volume mount services is disabled.\n`,
    );
    throw new BrokerError(`Service broker catalog is incompatible: \n${lines.join('')}`, {
      title: 'ServiceBrokerCatalogIncompatible',
    });
  }
  return services;
}

function readService(entry: unknown, report: Report): CatalogService {
  const fields = new Fields(isObject(entry) ? entry : {});
  if (!isObject(entry)) fields.problems.push(`Service must be a hash, but has value ${shown(entry)}`);
  const tags = fields.texts('tags', 'Service tags');
  if (tags.join('').length > LONGEST_TAGS)
    fields.problems.push(`Service tags must be ${LONGEST_TAGS} characters or less`);
  const requires = fields.texts('requires', 'Service "requires" field');
  for (const value of requires) {
    if (!REQUIRES.includes(value)) {
      fields.problems.push(`Service "requires" field contains unsupported value ${shown(value)}`);
    }
  }
  const metadata = fields.hash('metadata', 'Service metadata') ?? {};
  if (metadata.shareable !== undefined && typeof metadata.shareable !== 'boolean') {
    fields.problems.push(`Service metadata shareable must be a boolean, but has value ${shown(metadata.shareable)}`);
  }
  const dashboardClient = readDashboardClient(fields);
  const service: CatalogService = {
    id: fields.text('id', 'Service id'),
    name: fields.text('name', 'Service name'),
    description: fields.text('description', 'Service description', LONGEST_DESCRIPTION),
    bindable: fields.flag('bindable', 'Service "bindable" field', { required: true }) ?? false,
    planUpdateable: fields.flag('plan_updateable', 'Service "plan_updateable" field') ?? false,
    instancesRetrievable: fields.flag('instances_retrievable', 'Service "instances_retrievable" field') ?? false,
    bindingsRetrievable: fields.flag('bindings_retrievable', 'Service "bindings_retrievable" field') ?? false,
    allowContextUpdates: fields.flag('allow_context_updates', 'Service "allow_context_updates" field') ?? false,
    tags,
    requires,
    metadata,
    ...(dashboardClient ? { dashboardClient } : {}),
    plans: [],
  };
  const section = report.section(`Service ${service.name}`);
  const plans = fields.object.plans;
  if (plans !== undefined && plans !== null && !Array.isArray(plans)) {
    fields.problems.push(`Service plans list must be an array of hashes, but has value ${shown(plans)}`);
  } else if (!Array.isArray(plans) || plans.length === 0) fields.problems.push('At least one plan is required');
  else if (plans.length > MOST_PLANS) fields.problems.push(`At most ${MOST_PLANS} plans are allowed`);
  else service.plans = plans.map((plan: unknown) => readPlan(plan, section));
  section.problems.push(...fields.problems);
  return service;
}

function readDashboardClient(fields: Fields): DashboardClient | undefined {
  const label = 'Service dashboard client';
  const object = fields.hash('dashboard_client', `${label} attributes`);
  if (!object) return undefined;
  const client = new Fields(object);
  const read = {
    id: client.text('id', `${label} id`),
    secret: client.text('secret', `${label} secret`),
    redirectUri: client.text('redirect_uri', `${label} redirect_uri`, LONGEST_TAGS),
  };
  if (read.id !== '' && !isClientId(read.id)) client.problems.push(`${label} id must be ${CLIENT_ID_EXPECTED}`);
  if (read.redirectUri !== '' && !isRedirectUri(read.redirectUri)) {
    client.problems.push(`${label} redirect_uri must be an absolute URL without a fragment`);
  }
  // The secret is not repeated in a message.
  fields.problems.push(...client.problems.map((problem) => problem.replace(/, but has value .*$/, '')));
  return read;
}

function readPlan(entry: unknown, section: Section): CatalogPlan {
  const fields = new Fields(isObject(entry) ? entry : {});
  if (!isObject(entry)) fields.problems.push(`Plan must be a hash, but has value ${shown(entry)}`);
  const bindable = fields.flag('bindable', 'Plan bindable');
  const planUpdateable = fields.flag('plan_updateable', 'Plan updateable');
  const polling = fields.object.maximum_polling_duration;
  if (polling !== undefined && polling !== null && !Number.isSafeInteger(polling)) {
    fields.problems.push(`Maximum polling duration must be an integer, but has value ${shown(polling)}`);
  }
  const maintenanceInfo = readMaintenance(fields);
  const plan: CatalogPlan = {
    id: fields.text('id', 'Plan id'),
    name: fields.text('name', 'Plan name'),
    description: fields.text('description', 'Plan description', LONGEST_DESCRIPTION),
    free: fields.flag('free', 'Plan free') ?? true,
    ...(bindable === undefined ? {} : { bindable }),
    ...(planUpdateable === undefined ? {} : { planUpdateable }),
    ...(typeof polling === 'number' && polling > 0 ? { maximumPollingSeconds: polling } : {}),
    ...(maintenanceInfo ? { maintenanceInfo } : {}),
    metadata: fields.hash('metadata', 'Plan metadata') ?? {},
    schemas: readSchemas(fields),
  };
  section.section(`Plan ${plan.name}`).problems.push(...fields.problems);
  return plan;
}

function readMaintenance(fields: Fields): CatalogPlan['maintenanceInfo'] {
  const object = fields.hash('maintenance_info', 'Maintenance info', 2000);
  if (!object) return undefined;
  const { version, description } = object;
  if (typeof version !== 'string' || version.length > LONGEST || !SEMVER.test(version)) {
    fields.problems.push(`Maintenance info version must be a Semantic Version, but has value ${shown(version)}`);
    return undefined;
  }
  if (description !== undefined && typeof description !== 'string') {
    fields.problems.push(`Maintenance info description must be a string, but has value ${shown(description)}`);
  }
  const extra = Object.keys(object).filter((key) => key !== 'version' && key !== 'description');
  if (extra.length > 0) fields.problems.push(`Maintenance info contains invalid key(s): ${shown(extra.join(', '))}`);
  return { version, ...(typeof description === 'string' ? { description } : {}) };
}

const SCHEMAS = [
  ['createInstance', 'service_instance', 'create'],
  ['updateInstance', 'service_instance', 'update'],
  ['createBinding', 'service_binding', 'create'],
] as const;

function readSchemas(fields: Fields): CatalogPlan['schemas'] {
  const schemas = fields.hash('schemas', 'Plan schemas', 4 * LARGEST_SCHEMA) ?? {};
  const read: CatalogPlan['schemas'] = {};
  for (const [name, kind, verb] of SCHEMAS) {
    const label = `Schema ${kind}.${verb}.parameters`;
    const of = schemas[kind] ?? {};
    const method = isObject(of) ? (of[verb] ?? {}) : undefined;
    const schema = isObject(method) ? method.parameters : of;
    if (!isObject(of) || !isObject(method)) fields.problems.push(`Schemas ${kind}.${verb} must be a hash`);
    else if (schema === undefined || schema === null) continue;
    else if (!isObject(schema)) fields.problems.push(`${label} must be a hash, but has value ${shown(schema)}`);
    else {
      const problem = schemaProblem(schema);
      if (problem === undefined) read[name] = schema;
      else fields.problems.push(`${label} is not valid. ${problem}`);
    }
  }
  return read;
}

function schemaProblem(schema: Json): string | undefined {
  const text = JSON.stringify(schema);
  if (Buffer.byteLength(text) > LARGEST_SCHEMA) return 'Must not be larger than 64KB';
  if (typeof schema.$schema !== 'string') return 'Schema must have $schema key but was not present';
  return refersElsewhere(schema) ? 'No external references are allowed' : undefined;
}

function refersElsewhere(value: unknown): boolean {
  if (Array.isArray(value)) return value.some(refersElsewhere);
  if (!isObject(value)) return false;
  return Object.entries(value).some(([key, entry]) =>
    key === '$ref' && typeof entry === 'string' ? !entry.startsWith('#') : refersElsewhere(entry),
  );
}

function requireUnique(services: CatalogService[], report: Report): void {
  if (repeated(services.map(({ id }) => id)).length > 0) report.add('Service ids must be unique');
  if (repeated(services.map(({ name }) => name)).length > 0) report.add('Service names must be unique within a broker');
  const clients = services.flatMap(({ dashboardClient }) => (dashboardClient ? [dashboardClient.id] : []));
  if (repeated(clients).length > 0) report.add('Service dashboard_client id must be unique');
  for (const { name, plans } of services) {
    for (const plan of repeated(plans.map((one) => one.name))) {
      report.add(`Plan names must be unique within a service. Service ${name} already has a plan named ${plan}`);
    }
  }
  for (const id of repeated(services.flatMap(({ plans }) => plans.map((plan) => plan.id)))) {
    report.add(`Plan ids must be unique. Several plans have the id ${shown(id)}`);
  }
}

/** Empty ones are complained of as missing. */
function repeated(values: string[]): string[] {
  const seen = new Set<string>();
  const twice = new Set<string>();
  for (const value of values) {
    if (value !== '' && seen.has(value)) twice.add(value);
    seen.add(value);
  }
  return [...twice];
}

function shown(value: unknown): string {
  return (JSON.stringify(value) ?? 'nothing').slice(0, 100);
}

class Section {
  readonly problems: string[] = [];
  readonly #title: string;
  readonly #parts: Section[] = [];

  constructor(title: string) {
    this.#title = title;
  }

  section(title: string): Section {
    const part = new Section(title);
    this.#parts.push(part);
    return part;
  }

  /** Nothing where nothing is wrong. */
  lines(indent: string): string[] {
    const inner = [
      ...this.problems.map((problem) => `${indent}  ${problem}`),
      ...this.#parts.flatMap((part) => part.lines(`${indent}  `)),
    ];
    return inner.length === 0 ? [] : [`${indent}${this.#title}`, ...inner];
  }
}

class Report {
  readonly #problems: string[] = [];
  readonly #sections: Section[] = [];

  add(problem: string): void {
    this.#problems.push(problem);
  }

  section(title: string): Section {
    const section = new Section(title);
    this.#sections.push(section);
    return section;
  }

  done(): void {
    const lines = [...this.#problems, ...this.#sections.flatMap((section) => section.lines(''))];
    if (lines.length === 0) return;
    throw new BrokerError(`Service broker catalog is invalid: \n${lines.join('\n')}\n`.slice(0, LONGEST_MESSAGE), {
      title: 'ServiceBrokerCatalogInvalid',
    });
  }
}

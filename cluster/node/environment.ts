/** The environment of a container: `envFrom`, then `env`, with references resolved and `$(NAME)` expanded. */
import type { Container, EnvFromSource, EnvVar, Pod } from '../kinds/types/core.ts';
import { fieldValue, type PodPlace, resourceValue } from './downward.ts';
import { AgentError } from './errors.ts';
import type { References } from './references.ts';
import { serviceEntries } from './service-environment.ts';

const validName = /^[-._a-zA-Z][-._a-zA-Z0-9]*$/;

export interface EnvironmentInput {
  pod: Pod;
  container: Container;
  place: PodPlace;
  references: References;
}

/** Rejects with `CreateContainerConfigError` where something that is not optional is missing. */
export async function environmentOf(input: EnvironmentInput): Promise<Map<string, string>> {
  const services = await input.references.services({ all: input.pod.spec?.enableServiceLinks !== false });
  const environment = new Map(serviceEntries(services));
  const sources = (input.container.envFrom ?? []).map((source) => ({ source, entries: entriesOf(input, source) }));
  // All are asked for at once; the first of them that fails is told of.
  for (const { entries } of sources) entries.catch(() => undefined);
  for (const { source, entries } of sources) {
    for (const [key, value] of await entries) {
      const name = `${source.prefix ?? ''}${key}`;
      if (validName.test(name)) environment.set(name, value);
    }
  }
  for (const variable of input.container.env ?? []) {
    const value = variable.valueFrom
      ? await resolve(input, variable, variable.valueFrom)
      : expand(variable.value ?? '', environment);
    if (value !== undefined) environment.set(variable.name, value);
  }
  return environment;
}

async function entriesOf(input: EnvironmentInput, source: EnvFromSource): Promise<[string, string][]> {
  if (source.configMapRef) return await configMapEntries(input, source.configMapRef);
  return source.secretRef ? await secretEntries(input, source.secretRef) : [];
}

type OptionalReference = { name?: string; optional?: boolean };

async function configMapEntries(input: EnvironmentInput, reference: OptionalReference): Promise<[string, string][]> {
  const configMap = await input.references.configMap(reference.name ?? '');
  if (!configMap && !reference.optional) throw missing('configmap', reference.name);
  return Object.entries(configMap?.data ?? {});
}

async function secretEntries(input: EnvironmentInput, reference: OptionalReference): Promise<[string, string][]> {
  const secret = await input.references.secret(reference.name ?? '');
  if (!secret && !reference.optional) throw missing('secret', reference.name);
  return Object.entries(secret?.data ?? {}).map(([key, value]) => [key, Buffer.from(value, 'base64').toString()]);
}

async function resolve(
  { pod, container, place, references }: EnvironmentInput,
  { name }: EnvVar,
  source: NonNullable<EnvVar['valueFrom']>,
): Promise<string | undefined> {
  if (source.fieldRef) return fieldValue(pod, place, source.fieldRef);
  if (source.resourceFieldRef) return resourceValue(pod, place, source.resourceFieldRef, container);
  if (source.configMapKeyRef) {
    const { key, optional } = source.configMapKeyRef;
    const configMap = await references.configMap(source.configMapKeyRef.name ?? '');
    const value = configMap?.data?.[key];
    if (value !== undefined || optional) return value;
    throw configMap
      ? missingKey(key, 'ConfigMap', pod, source.configMapKeyRef.name)
      : missing('configmap', source.configMapKeyRef.name);
  }
  if (source.secretKeyRef) {
    const { key, optional } = source.secretKeyRef;
    const secret = await references.secret(source.secretKeyRef.name ?? '');
    const value = secret?.data?.[key];
    if (value !== undefined) return Buffer.from(value, 'base64').toString();
    if (optional) return undefined;
    throw secret
      ? missingKey(key, 'Secret', pod, source.secretKeyRef.name)
      : missing('secret', source.secretKeyRef.name);
  }
  throw new AgentError('CreateContainerConfigError', `env "${name}": valueFrom names no source`);
}

function missing(kind: string, name: string | undefined): AgentError {
  return new AgentError('CreateContainerConfigError', `${kind} "${name ?? ''}" not found`);
}

function missingKey(key: string, kind: string, pod: Pod, name: string | undefined): AgentError {
  const where = `${pod.metadata.namespace ?? ''}/${name ?? ''}`;
  return new AgentError('CreateContainerConfigError', `couldn't find key ${key} in ${kind} ${where}`);
}

/**
 * `$(NAME)` becomes the value, `$$` a dollar sign (so `$$(NAME)` stays `$(NAME)`); a name that is not known stays as
 * written: https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/
 */
export function expand(text: string, environment: ReadonlyMap<string, string>): string {
  return text.replace(/\$(?:\$|\(([^)]*)\))/g, (whole, name: string | undefined) =>
    name === undefined ? '$' : (environment.get(name) ?? whole),
  );
}

/**
 * Sidecars of apps. As with commands and variables, what they are counts from the next start on: the revision that is made then
 * says which ones run.
 */
import { randomUUID } from 'node:crypto';
import type { Stored } from '#cluster/kinds/kind.ts';
import { type App, labels, type Process, type Sidecar, type SidecarFacts } from '../../resources/types.ts';
import type { Context } from '../api.ts';
import { unprocessable } from '../errors.ts';
import { ownedBy } from '../records.ts';
import { serially } from './serially.ts';

export function sidecarProblems(command: string, types: string[]): string[] {
  const problems: string[] = [];
  if (command.trim() === '') problems.push("Command can't be blank");
  if (command.length > 4096) problems.push('Command is too long (maximum is 4096 characters)');
  if (command.includes('\0')) problems.push('Command must not have a NUL character');
  if (types.length === 0) problems.push('Process types must have at least 1 process_type');
  return problems;
}

export function sidecarsOf(context: Context, app: string): Stored<Sidecar>[] {
  return context.records.sidecars
    .ofApp(app)
    .filter((sidecar) => !sidecar.metadata.deletionTimestamp)
    .sort((a, b) => (a.spec.displayName < b.spec.displayName ? -1 : 1));
}

export function sidecarsOfProcess(context: Context, process: Stored<Process>): Stored<Sidecar>[] {
  return sidecarsOf(context, process.spec.app).filter(({ spec }) => spec.processTypes.includes(process.spec.type));
}

/** In a form that can be compared: sorted by name, types too. */
export function sidecarFactsOf(context: Context, app: Stored<App>): SidecarFacts[] {
  return sidecarsOf(context, app.metadata.name).map(({ spec }) => factsOf(spec));
}

function factsOf({ displayName, command, processTypes, memoryMb }: SidecarFacts): SidecarFacts {
  const types = [...new Set(processTypes)].sort();
  return { displayName, command, processTypes: types, ...(memoryMb === undefined ? {} : { memoryMb }) };
}

/** Makes the sidecar, or changes the one with the guid. One app's go one after the other: names and memory hold together. */
export function putSidecar(
  context: Context,
  app: Stored<App>,
  facts: SidecarFacts,
  guid?: string,
): Promise<Stored<Sidecar>> {
  return serially(`sidecars ${app.metadata.name}`, async () => {
    const others = sidecarsOf(context, app.metadata.name).filter(({ metadata }) => metadata.name !== guid);
    if (others.some(({ spec }) => spec.displayName === facts.displayName)) {
      throw unprocessable(`Sidecar with name '${facts.displayName}' already exists for given app`);
    }
    requireMemory(context, app, facts, others);
    if (guid === undefined) return createSidecar(context, app, facts);
    return context.records.sidecars.modify(guid, ({ spec: { app: owner, origin }, ...current }) => ({
      ...current,
      spec: { app: owner, origin, ...factsOf(facts) },
    }));
  });
}

function createSidecar(context: Context, app: Stored<App>, facts: SidecarFacts): Promise<Stored<Sidecar>> {
  return context.records.sidecars.create({
    metadata: {
      name: randomUUID(),
      namespace: app.metadata.namespace ?? '',
      labels: { [labels.app]: app.metadata.name },
      ownerReferences: ownedBy(app),
    },
    spec: { app: app.metadata.name, origin: 'user', ...factsOf(facts) },
  });
}

/** What a manifest says; the one of that name is changed. */
export async function applySidecar(context: Context, app: Stored<App>, facts: SidecarFacts): Promise<void> {
  const known = sidecarsOf(context, app.metadata.name).find(({ spec }) => spec.displayName === facts.displayName);
  await putSidecar(context, app, { ...known?.spec, ...facts }, known?.metadata.name);
}

/** Makes them the app's, and no others. */
export async function restoreSidecars(context: Context, app: Stored<App>, wanted: SidecarFacts[]): Promise<void> {
  for (const { metadata, spec } of sidecarsOf(context, app.metadata.name)) {
    if (!wanted.some(({ displayName }) => displayName === spec.displayName)) {
      await context.records.sidecars.delete(metadata.name);
    }
  }
  for (const facts of wanted) {
    const known = sidecarsOf(context, app.metadata.name).find(({ spec }) => spec.displayName === facts.displayName);
    await putSidecar(context, app, facts, known?.metadata.name);
  }
}

function memoryOf(sidecars: { spec: SidecarFacts }[]): number {
  return sidecars.reduce((sum, { spec }) => sum + (spec.memoryMb ?? 0), 0);
}

function requireMemory(context: Context, app: Stored<App>, facts: SidecarFacts, others: Stored<Sidecar>[]): void {
  if (facts.memoryMb === undefined) return;
  for (const process of context.records.processes.ofApp(app.metadata.name)) {
    const { type, memoryMb } = process.spec;
    if (!facts.processTypes.includes(type)) continue;
    const beside = others.filter(({ spec }) => spec.processTypes.includes(type));
    if (memoryOf(beside) + facts.memoryMb < memoryMb) continue;
    throw unprocessable(`The memory allocation defined is too large to run with the dependent "${type}" process`);
  }
}

/** Throws where a process with so much memory would leave nothing for itself. */
export function requireRoomForSidecars(context: Context, process: Stored<Process>, memoryMb: number): void {
  const needed = memoryOf(sidecarsOfProcess(context, process));
  if (needed === 0 || needed < memoryMb) return;
  throw unprocessable('The requested memory allocation is not large enough to run all of your sidecar processes');
}

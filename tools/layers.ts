/** The house rules on imports (ARCHITECTURE.md, "Who may import whom"), each forbidden edge with its reason. */
import type { ImportEdge, Module } from './imports.ts';

interface Rule {
  from: RegExp;
  to: RegExp;
  except?: RegExp;
  reason: string;
}

const planks = 'bin|platform|cluster|engine|cli|console|lib|testing|test|bench|tools|examples';

export const rules: Rule[] = [
  {
    from: /^lib\//,
    to: new RegExp(`^(?!lib/)(${planks})/`),
    reason: 'lib holds leaf helpers: it knows nothing of ours',
  },
  { from: /^engine\//, to: /^(?!engine\/|lib\/)/, reason: 'the engine can be run and tested alone' },
  {
    from: /^cluster\//,
    to: /^(?!cluster\/|lib\/|engine\/)/,
    reason: 'the cluster stands on lib, and the node agent on the engine',
  },
  { from: /^cluster\/(?!node\/)/, to: /^engine\//, reason: 'only the node agent speaks to the engine' },
  {
    from: /^cluster\/node\//,
    to: /^engine\//,
    except: /^engine\/engine\.ts$/,
    reason: "the node agent knows the engine's contract, and no driver",
  },
  {
    from: /^cluster\/controllers\//,
    to: /^cluster\/apiserver\//,
    reason: 'controllers meet the API server in the store, through the client',
  },
  { from: /^cluster\/apiserver\//, to: /^cluster\/controllers\//, reason: 'the API server knows no controller' },
  {
    from: /^cluster\/(controllers|scheduler|node|network)\//,
    to: /^cluster\/(store|apiserver)\//,
    reason: 'they reach the cluster through the client, over the network where they must',
  },
  {
    from: /^platform\//,
    to: /^(?!platform\/|lib\/|cluster\/client\/)/,
    except: /^cluster\/kinds\/(types\/|kind\.ts$|resources\.ts$)/,
    reason: 'the platform reaches the cluster through the Kubernetes API, so that it can stand on another Kubernetes',
  },
  { from: /^(cli|console)\//, to: /^(?!cli\/|console\/|lib\/)/, reason: 'a client of the HTTP API, and nothing more' },
  {
    from: new RegExp(`^(?!bin/)(${planks.replace('bin|', '').replace('testing|test|bench|tools|', '')})/`),
    to: /^bin\//,
    reason: 'nothing imports a composition root',
  },
  {
    from: new RegExp(`^(bin|platform|cluster|engine|cli|console|lib)/`),
    to: /^(testing|test|bench|tools)\//,
    reason: 'the product does not need its tests',
  },
];

const isTest = (path: string): boolean =>
  /\.(test|fixture)\.ts$/.test(path) || /^(testing|test|bench|tools)\//.test(path);

export interface Violation {
  from: string;
  to: string;
  reason: string;
}

/** Tests stand outside the house: they may import what they test and what it stands on. */
export function layerViolations(modules: Module[]): Violation[] {
  return modules
    .filter((module) => !isTest(module.path))
    .flatMap((module) => module.imports.flatMap((edge) => forbidden(module, edge)));
}

function forbidden(module: Module, edge: ImportEdge): Violation[] {
  const { target } = edge;
  if (target === undefined) return [];
  return rules
    .filter((rule) => rule.from.test(module.path) && rule.to.test(target) && !rule.except?.test(target))
    .map((rule) => ({ from: module.path, to: target, reason: rule.reason }));
}

/** Cycles of imports, each once, as the modules in order. Imports of types alone make none. */
export function importCycles(modules: Module[]): string[][] {
  const edges = new Map(
    modules.map((module) => [
      module.path,
      module.imports.filter((edge) => !edge.typeOnly && edge.target).map((edge) => edge.target as string),
    ]),
  );
  const state = new Map<string, 'open' | 'done'>();
  const cycles: string[][] = [];
  const visit = (path: string, trail: string[]): void => {
    if (state.get(path) === 'done') return;
    if (state.get(path) === 'open') {
      cycles.push([...trail.slice(trail.indexOf(path)), path]);
      return;
    }
    state.set(path, 'open');
    for (const next of edges.get(path) ?? []) visit(next, [...trail, path]);
    state.set(path, 'done');
  };
  for (const path of edges.keys()) visit(path, []);
  return cycles;
}

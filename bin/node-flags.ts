/**
 * What `sampan up` and `sampan cluster` were told of the node, by flags named as a kubelet's. Checked when they are said, and kept with the instance as
 * they were said: each holds until it is given anew, and an empty text takes it back.
 */
import type { EvictionOptions } from '#cluster/node/eviction.ts';
import type { NodeSettings } from '#cluster/node/node-settings.ts';
import { conditionOfSignal, defaultThresholds, type Signal, type Thresholds } from '#cluster/node/pressure.ts';
import { labelValueProblem, qualifiedNameProblem } from '#cluster/kinds/names.ts';
import { quantityProblem } from '#cluster/kinds/quantity.ts';
import type { Taint } from '#cluster/kinds/types/core.ts';
import { milliseconds, wrongFlag } from './commands/engine-flags.ts';
import { NODE_FLAGS } from './commands/node-options.ts';

export interface NodeFlags {
  evictionHard?: string;
  evictionSoft?: string;
  evictionSoftGracePeriod?: string;
  evictionMaxPodGracePeriod?: string;
  evictionPressureTransitionPeriod?: string;
  maxPods?: string;
  systemReserved?: string;
  nodeLabels?: string;
  registerWithTaints?: string;
}

export interface NodeOptions {
  settings: Omit<NodeSettings, 'thresholds'>;
  eviction: EvictionOptions;
}

/** Undefined where nothing is said. @throws HostError `invalid-flag` */
export function mergedNodeFlags(given: NodeFlags, before: NodeFlags | undefined): NodeFlags | undefined {
  const merged: NodeFlags = {};
  for (const flag of NODE_FLAGS) {
    const value = given[flag] ?? before?.[flag] ?? '';
    if (value !== '') merged[flag] = value;
  }
  nodeOptions(merged);
  return Object.keys(merged).length === 0 ? undefined : merged;
}

/** @throws HostError `invalid-flag` */
export function nodeOptions(flags: NodeFlags): NodeOptions {
  const { evictionHard, evictionPressureTransitionPeriod, maxPods, systemReserved, nodeLabels, registerWithTaints } =
    flags;
  const soft = softEviction(flags);
  return {
    settings: {
      ...(maxPods !== undefined && { maxPods: whole('--max-pods', maxPods, 1, 10_000) }),
      ...(systemReserved !== undefined && { systemReserved: reserved(systemReserved) }),
      ...(nodeLabels !== undefined && { labels: labels(nodeLabels) }),
      ...(registerWithTaints !== undefined && { taints: registerWithTaints.split(',').map(taint) }),
    },
    eviction: {
      // As a kubelet's: what is given stands for all of them.
      ...(evictionHard !== undefined && { thresholds: thresholds('--eviction-hard', evictionHard) }),
      ...(soft !== undefined && { soft }),
      ...(evictionPressureTransitionPeriod !== undefined && {
        transition: milliseconds('--eviction-pressure-transition-period', evictionPressureTransitionPeriod),
      }),
    },
  };
}

function softEviction(flags: NodeFlags): EvictionOptions['soft'] {
  const { evictionSoft, evictionSoftGracePeriod, evictionMaxPodGracePeriod } = flags;
  if (evictionSoft === undefined) {
    if (evictionSoftGracePeriod !== undefined)
      throw wrongFlag('--eviction-soft-grace-period', evictionSoftGracePeriod, 'there is no --eviction-soft', 'both');
    return undefined;
  }
  const found = thresholds('--eviction-soft', evictionSoft);
  const graceMilliseconds: Partial<Record<Signal, number>> = {};
  for (const [name, text] of pairs('--eviction-soft-grace-period', evictionSoftGracePeriod ?? '', '='))
    graceMilliseconds[signal('--eviction-soft-grace-period', name)] = milliseconds(
      '--eviction-soft-grace-period',
      text,
    );
  const without = Object.keys(found).find((name) => graceMilliseconds[name as Signal] === undefined);
  if (without !== undefined)
    throw wrongFlag(
      '--eviction-soft',
      evictionSoft,
      `--eviction-soft-grace-period says nothing of ${without}`,
      `one for each, such as --eviction-soft-grace-period ${without}=90s`,
    );
  return {
    thresholds: found,
    graceMilliseconds,
    ...(evictionMaxPodGracePeriod !== undefined && {
      maxPodGraceSeconds: whole('--eviction-max-pod-grace-period', evictionMaxPodGracePeriod, 0, 86_400),
    }),
  };
}

function thresholds(flag: string, text: string): Thresholds {
  const found: Thresholds = {};
  for (const [name, value] of pairs(flag, text, '<')) {
    const part = /^(\d+(\.\d+)?)%$/.exec(value)?.[1];
    if (part === undefined ? quantityProblem(value) !== undefined || value.startsWith('-') : Number(part) > 100)
      throw wrongFlag(flag, text, `${value} is neither a quantity nor a percentage`, EXAMPLE);
    found[signal(flag, name)] = value;
  }
  return found;
}

const EXAMPLE = Object.entries(defaultThresholds)
  .map(([name, value]) => `${name}<${value}`)
  .join(',');

function signal(flag: string, name: string): Signal {
  if (Object.hasOwn(conditionOfSignal, name)) return name as Signal;
  throw wrongFlag(flag, name, 'it is no signal of this node', `one of ${Object.keys(conditionOfSignal).join(', ')}`);
}

const RESERVABLE = ['cpu', 'memory', 'ephemeral-storage'];

function reserved(text: string): Record<string, string> {
  return Object.fromEntries(
    pairs('--system-reserved', text, '=').map(([name, value]) => {
      if (!RESERVABLE.includes(name) || quantityProblem(value) !== undefined || value.startsWith('-'))
        throw wrongFlag(
          '--system-reserved',
          `${name}=${value}`,
          `it is no quantity of ${RESERVABLE.join(', ')}`,
          'cpu=500m,memory=1Gi',
        );
      return [name, value];
    }),
  );
}

function labels(text: string): Record<string, string> {
  const found = pairs('--node-labels', text, '=');
  for (const [name, value] of found) {
    const problem = qualifiedNameProblem(name) ?? labelValueProblem(value);
    if (problem !== undefined) throw wrongFlag('--node-labels', text, problem, 'disk=ssd,example.com/rack=7');
    if (
      /(^|\.)(kubernetes|k8s)\.io\//.test(name) &&
      !/(^|\.)(node|kubelet)\.kubernetes\.io\//.test(name) &&
      !OWN.has(name)
    )
      throw wrongFlag('--node-labels', name, 'no node may say that of itself', 'one outside of kubernetes.io');
  }
  return Object.fromEntries(found);
}

/** Those of Kubernetes' own that are an administrator's to say. */
const OWN = new Set(['topology.kubernetes.io/region', 'topology.kubernetes.io/zone']);
const EFFECTS = ['NoSchedule', 'PreferNoSchedule', 'NoExecute'];

function taint(text: string): Taint {
  const [, key = '', value = '', effect = ''] = /^([^=:]+)(?:=([^:]*))?:(\w+)$/.exec(text.trim()) ?? [];
  const named = key === '' ? 'it is no KEY=VALUE:EFFECT' : (qualifiedNameProblem(key) ?? labelValueProblem(value));
  const problem = named ?? (EFFECTS.includes(effect) ? undefined : `the effect is none of ${EFFECTS.join(', ')}`);
  if (problem !== undefined) throw wrongFlag('--register-with-taints', text, problem, 'dedicated=db:NoSchedule');
  return { key, ...(value !== '' && { value }), effect };
}

function pairs(flag: string, text: string, between: string): [string, string][] {
  return text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
    .map((part) => {
      const at = part.indexOf(between);
      if (at > 0) return [part.slice(0, at).trim(), part.slice(at + between.length).trim()];
      throw wrongFlag(flag, part, `there is no "${between}" in it`, between === '<' ? EXAMPLE : 'NAME=VALUE,…');
    });
}

function whole(flag: string, text: string, least: number, most: number): number {
  const found = Number(text);
  if (/^\d{1,6}$/.test(text) && found >= least && found <= most) return found;
  throw wrongFlag(flag, text, `it is no number from ${least} to ${most}`, String(Math.max(least, 110)));
}

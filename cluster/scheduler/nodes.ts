/** Every node with what is used on it, kept up to date by single changes: nothing is summed up again for a pod. */
import type { Stored } from '../kinds/kind.ts';
import type { Node, Taint } from '../kinds/types/core.ts';
import { type Amounts, type PodUsage, parseAmounts } from './resources.ts';

export interface NodeState {
  name: string;
  /** Undefined while only its pods are known. */
  node: Stored<Node> | undefined;
  allocatable: Amounts;
  ready: boolean;
  taints: Taint[];
  used: Map<string, number>;
  scoreCpu: number;
  scoreMemory: number;
  pods: Map<string, PodUsage>;
  /** Pods of one controller on this node. */
  owners: Map<string, number>;
}

export function createNodes() {
  const states = new Map<string, NodeState>();
  const placed = new Map<string, string>();
  let list: NodeState[] | undefined;

  function stateOf(name: string): NodeState {
    let state = states.get(name);
    if (!state) {
      state = {
        name,
        node: undefined,
        allocatable: new Map(),
        ready: false,
        taints: [],
        used: new Map(),
        scoreCpu: 0,
        scoreMemory: 0,
        pods: new Map(),
        owners: new Map(),
      };
      states.set(name, state);
    }
    return state;
  }

  function account(state: NodeState, usage: PodUsage, sign: 1 | -1): void {
    for (const [name, value] of usage.requests) state.used.set(name, (state.used.get(name) ?? 0) + sign * value);
    state.scoreCpu += sign * usage.scoreCpu;
    state.scoreMemory += sign * usage.scoreMemory;
    if (usage.owner === undefined) return;
    const count = (state.owners.get(usage.owner) ?? 0) + sign;
    if (count > 0) state.owners.set(usage.owner, count);
    else state.owners.delete(usage.owner);
  }

  function forgetIfEmpty(state: NodeState): void {
    if (!state.node && state.pods.size === 0) states.delete(state.name);
  }

  function remove(uid: string): boolean {
    const name = placed.get(uid);
    const state = name === undefined ? undefined : states.get(name);
    const usage = state?.pods.get(uid);
    if (!state || !usage) return false;
    placed.delete(uid);
    state.pods.delete(uid);
    account(state, usage, -1);
    forgetIfEmpty(state);
    return true;
  }

  return {
    setNode(node: Stored<Node>): void {
      const state = stateOf(node.metadata.name);
      state.node = node;
      state.allocatable = parseAmounts(node.status?.allocatable ?? node.status?.capacity);
      state.ready = node.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false;
      state.taints = node.spec?.taints?.filter(({ effect }) => effect === 'NoSchedule' || effect === 'NoExecute') ?? [];
      list = undefined;
    },
    removeNode(name: string): void {
      const state = states.get(name);
      if (!state) return;
      state.node = undefined;
      list = undefined;
      forgetIfEmpty(state);
    },
    /** Counts the pod on the node, and no more where it was. */
    place(uid: string, name: string, usage: PodUsage): void {
      if (placed.get(uid) === name) return;
      remove(uid);
      const state = stateOf(name);
      state.pods.set(uid, usage);
      placed.set(uid, name);
      account(state, usage, 1);
    },
    /** Returns whether it was counted anywhere. */
    remove,
    all(): NodeState[] {
      list ??= [...states.values()].filter(({ node }) => node !== undefined);
      return list;
    },
  };
}

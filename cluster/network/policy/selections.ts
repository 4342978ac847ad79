/**
 * Which pods a selector of a policy means, kept up as pods come and go: a change of one pod costs one look at it by each selector, and the
 * sets of those that it is in.
 */
import { createHash } from 'node:crypto';
import { type IpFamily, familyOf } from '#lib/ip-range.ts';
import { type Requirement, labelSelectorRequirements, matchesLabels } from '../../kinds/selector.ts';
import type { LabelSelector } from '../../kinds/types/meta.ts';
import type { ElementSet } from '../services/table.ts';
import type { PodFacts } from './policy.ts';

/** Pods of one namespace, or of those that a selector means; absent: of all. */
export interface Selector {
  namespace?: string;
  namespaces?: LabelSelector;
  pods?: LabelSelector;
}

/** With the selector's `keyOf`, which is not made anew for every look. */
export interface Keyed {
  key: string;
  selector: Selector;
}

export interface NamedPort {
  name: string;
  /** `tcp` */
  protocol: string;
}

interface Selection {
  namespace: string | undefined;
  namespaces: Requirement[] | undefined;
  pods: Requirement[];
  members: Map<string, PodFacts>;
  /** Made when they are asked for, and forgotten with a change of members. */
  sets: Map<string, ElementSet>;
}

/** A short name that is the same for the same selector, for ever. */
export function keyOf(selector: Selector): string {
  return createHash('sha256').update(canonical(selector)).digest('hex').slice(0, 12);
}

export class Selections {
  readonly #byKey = new Map<string, Selection>();
  readonly #pods = new Map<string, PodFacts>();
  readonly #namespaces = new Map<string, Record<string, string>>();

  pods(): Iterable<PodFacts> {
    return this.#pods.values();
  }

  pod(uid: string): PodFacts | undefined {
    return this.#pods.get(uid);
  }

  /** The newest is the last, where two claim one address. */
  setPod(pod: PodFacts): void {
    this.#pods.delete(pod.uid);
    this.#pods.set(pod.uid, pod);
    for (const selection of this.#byKey.values()) this.#place(selection, pod);
  }

  removePod(uid: string): void {
    this.#pods.delete(uid);
    for (const { members, sets } of this.#byKey.values()) if (members.delete(uid)) sets.clear();
  }

  /** Undefined: it is gone. */
  setNamespace(name: string, labels: Record<string, string> | undefined): void {
    if (labels === undefined) this.#namespaces.delete(name);
    else this.#namespaces.set(name, labels);
    for (const selection of this.#byKey.values()) {
      if (selection.namespaces === undefined) continue;
      for (const pod of this.#pods.values()) if (pod.namespace === name) this.#place(selection, pod);
    }
  }

  /** Addresses of the pods that are meant. */
  addresses(wanted: Keyed, family: IpFamily): ElementSet {
    return this.#set(wanted, String(family), () => ({
      spec: `type ipv${family}_addr`,
      keys: (pod) => ipsOf(pod, family),
    }));
  }

  /** Where they have a port of that name. */
  ports(wanted: Keyed, { name, protocol }: NamedPort, family: IpFamily): ElementSet {
    return this.#set(wanted, `${family}/${protocol}/${name}`, () => ({
      spec: `type ipv${family}_addr . inet_proto . inet_service`,
      keys: (pod) =>
        ipsOf(pod, family).flatMap((ip) =>
          pod.ports
            .filter((port) => port.name === name && port.protocol === protocol)
            .map(({ port }) => `${ip} . ${protocol} . ${port}`),
        ),
    }));
  }

  /** Others need not be kept up. */
  retain(selectors: ReadonlySet<string>): void {
    for (const key of this.#byKey.keys()) if (!selectors.has(key)) this.#byKey.delete(key);
  }

  #set(wanted: Keyed, name: string, how: () => { spec: string; keys: (pod: PodFacts) => string[] }): ElementSet {
    const { members, sets } = this.#selection(wanted);
    const known = sets.get(name);
    if (known !== undefined) return known;
    const { spec, keys } = how();
    const elements = new Map([...members.values()].flatMap(keys).map((key) => [key, '']));
    const made: ElementSet = { kind: 'set', spec, elements };
    sets.set(name, made);
    return made;
  }

  #selection({ key, selector }: Keyed): Selection {
    const known = this.#byKey.get(key);
    if (known !== undefined) return known;
    const selection: Selection = {
      namespace: selector.namespace,
      namespaces: selector.namespaces && labelSelectorRequirements(selector.namespaces),
      pods: labelSelectorRequirements(selector.pods ?? {}),
      members: new Map(),
      sets: new Map(),
    };
    this.#byKey.set(key, selection);
    for (const pod of this.#pods.values()) this.#place(selection, pod);
    return selection;
  }

  #place(selection: Selection, pod: PodFacts): void {
    const { members, sets } = selection;
    if (this.#means(selection, pod)) members.set(pod.uid, pod);
    else if (!members.delete(pod.uid)) return;
    sets.clear();
  }

  #means({ namespace, namespaces, pods }: Selection, pod: PodFacts): boolean {
    if (namespace !== undefined && pod.namespace !== namespace) return false;
    if (namespaces !== undefined) {
      const labels = this.#namespaces.get(pod.namespace);
      if (labels === undefined || !matchesLabels(namespaces, labels)) return false;
    }
    return matchesLabels(pods, pod.labels);
  }
}

export function ipsOf({ ips }: PodFacts, family: IpFamily): string[] {
  return ips.filter((ip) => familyOf(ip) === family);
}

function canonical({ namespace, namespaces, pods }: Selector): string {
  return JSON.stringify([namespace ?? null, namespaces ? sorted(namespaces) : null, sorted(pods ?? {})]);
}

function sorted(selector: LabelSelector): string[] {
  return labelSelectorRequirements(selector)
    .map(({ key, operator, values }) => JSON.stringify([key, operator, [...values].sort()]))
    .sort();
}

/** A table of nftables as data, and the transaction that leads from one state of it to another. Knows nothing of services. Pure. */

export interface Chain {
  kind: 'chain';
  /** Of a base chain: `type nat hook output priority -100; policy accept;` */
  hook?: string;
  comment?: string;
  rules: readonly string[];
}

export interface ElementSet {
  kind: 'set' | 'map';
  /** `type ipv4_addr . inet_service : verdict` */
  spec: string;
  /** By key; the values are a map's, and empty for a set. Undefined: the kernel's own, which nobody touches. */
  elements: ReadonlyMap<string, string> | undefined;
}

/** By name. Objects are compared by identity first: whoever keeps those that did not change makes large tables cheap. */
export type Table = ReadonlyMap<string, Chain | ElementSet>;

/** What is known of a table that somebody else wrote: which objects there are. */
export type Inventory = ReadonlyMap<string, 'chain' | 'set' | 'map'>;

/** Commands for `nft -f` that replace whatever there is. */
export function replacement(table: string, after: Table): string {
  return `table inet ${table} {}\ndelete table inet ${table}\n${difference(table, new Map(), after)}`;
}

/** Commands that lead from one state to the other; empty where they are the same. */
export function difference(table: string, before: Table, after: Table): string {
  const script = new Script(table);
  for (const [name, object] of after) if (!before.has(name)) script.create(name, object);
  for (const [name, object] of after) {
    const old = before.get(name);
    if (object === old) continue;
    if (object.kind === 'chain') script.fill(name, object, old?.kind === 'chain' ? old : undefined);
    else script.setElements(name, object, old !== undefined && old.kind !== 'chain' ? old : undefined);
  }
  script.remove([...before].filter(([name]) => !after.has(name)));
  return script.text(before.size === 0);
}

/** As `difference`, from a table of which only the names are known: sets that are the kernel's own keep what is in them. */
export function takeover(table: string, there: Inventory, after: Table): string {
  const script = new Script(table);
  for (const [name, object] of after) if (there.get(name) !== object.kind) script.create(name, object);
  for (const [name, object] of after) {
    const known = there.get(name) === object.kind;
    if (object.kind === 'chain') {
      if (known) script.flushChain(name);
      script.fill(name, object, undefined);
    } else if (object.elements !== undefined) {
      if (known) script.flushSet(name, object.kind);
      script.setElements(name, object, undefined);
    }
  }
  script.remove(
    [...there]
      .filter(([name]) => !after.has(name))
      .map(([name, kind]) => [name, kind === 'chain' ? EMPTY_CHAIN : { kind }]),
  );
  return script.text(false);
}

const EMPTY_CHAIN: Chain = { kind: 'chain', rules: [''] };

class Script {
  readonly #table: string;
  readonly #lines: string[] = [];

  constructor(table: string) {
    this.#table = `inet ${table}`;
  }

  create(name: string, object: Chain | ElementSet): void {
    if (object.kind === 'chain') {
      const comment = object.comment === undefined ? '' : `comment ${quoted(object.comment)};`;
      const body = [object.hook, comment].filter(Boolean).join(' ');
      this.#add(`add chain ${this.#table} ${name}${body === '' ? '' : ` { ${body} }`}`);
    } else this.#add(`add ${object.kind} ${this.#table} ${name} { ${object.spec}; }`);
  }

  fill(name: string, { rules }: Chain, old: Chain | undefined): void {
    if (old !== undefined && sameRules(rules, old.rules)) return;
    if (old !== undefined && old.rules.length > 0) this.flushChain(name);
    for (const rule of rules) this.#add(`add rule ${this.#table} ${name} ${rule}`);
  }

  flushChain(name: string): void {
    this.#add(`flush chain ${this.#table} ${name}`);
  }

  flushSet(name: string, kind: 'set' | 'map'): void {
    this.#add(`flush ${kind} ${this.#table} ${name}`);
  }

  setElements(name: string, { elements }: ElementSet, old: ElementSet | undefined): void {
    if (elements === undefined) return;
    const before: ReadonlyMap<string, string> = old?.elements ?? new Map<string, string>();
    const gone = [...before].filter(([key, value]) => elements.get(key) !== value);
    const come = [...elements].filter(([key, value]) => before.get(key) !== value);
    this.#elements('delete', name, gone);
    this.#elements('add', name, come);
  }

  /** What refers to them has been taken away before. Rules go first, since chains that go may lead to each other. */
  remove(objects: readonly (readonly [string, Chain | { kind: 'set' | 'map' }])[]): void {
    for (const [name, object] of objects) {
      if (object.kind === 'chain' && object.rules.length > 0) this.flushChain(name);
    }
    for (const [name, { kind }] of objects) if (kind === 'map') this.#add(`delete map ${this.#table} ${name}`);
    for (const [name, { kind }] of objects) if (kind === 'chain') this.#add(`delete chain ${this.#table} ${name}`);
    for (const [name, { kind }] of objects) if (kind === 'set') this.#add(`delete set ${this.#table} ${name}`);
  }

  text(create: boolean): string {
    if (create) this.#lines.unshift(`add table ${this.#table}`);
    return this.#lines.map((line) => `${line}\n`).join('');
  }

  #elements(verb: 'add' | 'delete', name: string, list: [string, string][]): void {
    if (list.length === 0) return;
    const body = list.map(([key, value]) => (verb === 'delete' || value === '' ? key : `${key} : ${value}`)).join(', ');
    this.#add(`${verb} element ${this.#table} ${name} { ${body} }`);
  }

  #add(line: string): void {
    this.#lines.push(line);
  }
}

function sameRules(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((rule, index) => rule === other[index]);
}

/** At most 127 bytes, as the kernel's tools take them; of characters that need no escape. */
function quoted(comment: string): string {
  return `"${comment.replaceAll(/[^\w .:/-]/g, '_').slice(0, 127)}"`;
}

/** The arguments of a build: what was given, what was declared, and who may see them. */
import type { Variables } from './dockerfile/expand.ts';
import type { Argument } from './dockerfile/instruction.ts';

/** Known without a declaration, and of no meaning to the cache (Dockerfile reference, "Predefined ARGs"). */
const PREDEFINED = ['HTTP_PROXY', 'HTTPS_PROXY', 'FTP_PROXY', 'NO_PROXY', 'ALL_PROXY'].flatMap((name) => [
  name,
  name.toLowerCase(),
]);

export class BuildArguments {
  readonly #given: ReadonlyMap<string, string>;
  /** Of `ARG`s ahead of the first stage. */
  readonly #globals: Map<string, string>;
  readonly #used = new Set<string>();

  constructor(given: ReadonlyMap<string, string>, platform: Variables) {
    this.#given = given;
    this.#globals = new Map(platform);
  }

  /** For `FROM`. */
  get globals(): Variables {
    return this.#globals;
  }

  declareGlobal({ name, value }: Argument): void {
    const found = this.#take(name) ?? value;
    if (found !== undefined) this.#globals.set(name, found);
  }

  /** Undefined where it has no value at all. */
  declare({ name, value }: Argument): string | undefined {
    return this.#take(name) ?? value ?? this.#globals.get(name);
  }

  /** For the commands of every stage. */
  predefined(): Map<string, string> {
    const found = new Map<string, string>();
    for (const name of PREDEFINED) {
      const value = this.#take(name);
      if (value !== undefined) found.set(name, value);
    }
    return found;
  }

  unused(): string[] {
    return [...this.#given.keys()].filter((name) => !this.#used.has(name) && !PREDEFINED.includes(name)).sort();
  }

  #take(name: string): string | undefined {
    const value = this.#given.get(name);
    if (value !== undefined) this.#used.add(name);
    return value;
  }
}

/** `TARGETARCH` and its kin. */
export function platformArguments(platform: string | undefined): Variables {
  const own = `linux/${process.arch === 'x64' ? 'amd64' : process.arch}`;
  const parts = (prefix: string, text: string): [string, string][] => {
    const [os = '', architecture = '', variant = ''] = text.split('/');
    return [
      [`${prefix}PLATFORM`, text],
      [`${prefix}OS`, os],
      [`${prefix}ARCH`, architecture],
      [`${prefix}VARIANT`, variant],
    ];
  };
  return new Map([...parts('BUILD', own), ...parts('TARGET', platform ?? own)]);
}

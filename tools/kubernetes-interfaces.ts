/** Schemas of the Kubernetes API as TypeScript interfaces, a file for each group. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Definition {
  $ref?: string;
  type?: string;
  properties?: Record<string, Definition>;
  additionalProperties?: Definition;
  items?: Definition;
  required?: string[];
  'x-kubernetes-group-version-kind'?: unknown;
}

const META = 'io.k8s.apimachinery.pkg.apis.meta.v1.';

/** Only what a file does not declare yet is added to it. */
export function interfacesOf(
  definitions: Map<string, Definition>,
  fileOf: (name: string) => string,
  directory: string,
): { path: string; text: string }[] {
  const groups = Map.groupBy([...definitions.keys()].sort(), fileOf);
  return [...groups].map(([file, names]) => {
    const path = join(directory, `${file}.ts`);
    const imports = new Map<string, Set<string>>();
    const title = `// The ${file.replace('-', ' ')} API types of Kubernetes 1.30: one interface for each schema, field for field.`;
    const before = existsSync(path) ? readFileSync(path, 'utf8') : '';
    const known = new Set([...before.matchAll(/^export (?:interface|type) (\w+)/gm)].map((match) => match[1]));
    const body = before
      .split('\n')
      .filter((line) => !line.startsWith('// The '))
      .join('\n')
      .replace(/^import type \{([^}]*)\} from '\.\/([\w-]+)\.ts';\n/gm, (_all, types: string, from: string) => {
        const seen = imports.get(from) ?? new Set();
        imports.set(from, seen);
        for (const type of types.split(',')) if (type.trim() !== '') seen.add(type.trim());
        return '';
      });
    const added = names
      .filter((name) => !known.has(typeName(name)))
      .map((name) => interfaceOf(name, definitions.get(name) ?? {}, file, fileOf, imports));
    const heads = [...imports]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([from, types]) => `import type { ${[...types].sort().join(', ')} } from './${from}.ts';`);
    return { path, text: [title, ...heads, '', body.trim(), '', ...added].join('\n') };
  });
}

/** Event of `events.k8s.io` has a name of its own: the core one is used everywhere. */
function typeName(definition: string): string {
  if (definition === 'io.k8s.api.events.v1.Event') return 'EventsEvent';
  if (definition === 'io.k8s.api.events.v1.EventList') return 'EventsEventList';
  return definition.slice(definition.lastIndexOf('.') + 1);
}

function interfaceOf(
  name: string,
  definition: Definition,
  file: string,
  fileOf: (name: string) => string,
  imports: Map<string, Set<string>>,
): string {
  const typeOf = (schema: Definition): string => {
    const reference = schema.$ref?.slice('#/definitions/'.length);
    if (reference !== undefined) {
      const from = fileOf(reference);
      if (from !== file) imports.set(from, (imports.get(from) ?? new Set()).add(typeName(reference)));
      return typeName(reference);
    }
    if (schema.type === 'array') return `${typeOf(schema.items ?? {})}[]`;
    if (schema.type === 'object')
      return `Record<string, ${schema.additionalProperties === undefined ? 'unknown' : typeOf(schema.additionalProperties)}>`;
    if (schema.type === 'integer') return 'number';
    return schema.type ?? 'unknown';
  };
  if (definition.properties === undefined) return `export type ${typeName(name)} = ${typeOf(definition)};\n`;
  const lines = Object.entries(definition.properties).map(([field, schema]) => {
    // Every object has metadata; a template may have none.
    const metadata =
      field === 'metadata' &&
      schema.$ref?.startsWith(`#/definitions/${META}`) === true &&
      definition['x-kubernetes-group-version-kind'] !== undefined;
    const sure = metadata || definition.required?.includes(field) === true;
    return `  ${/^[\w$]+$/.test(field) ? field : `'${field}'`}${sure ? '' : '?'}: ${typeOf(schema)};`;
  });
  return [`export interface ${typeName(name)} {`, ...lines, '}', ''].join('\n');
}

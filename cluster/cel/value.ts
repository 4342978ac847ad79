/** JSON as CEL's values: what a number or a text means is the schema's to say (Kubernetes "Type mapping" of CEL). */
import { resolveSchema, type Schema } from '../kinds/schema.ts';

const RESERVED = new Set(
  'true false null in as break const continue else for function if import let loop package namespace return var void while'.split(
    ' ',
  ),
);

export function celValue(value: unknown, reference: Schema | undefined): unknown {
  const schema = reference === undefined ? undefined : resolveSchema(reference);
  if (typeof value === 'number') {
    if (schema?.type === 'number') return value;
    return Number.isInteger(value) ? BigInt(value) : value;
  }
  if (typeof value === 'string') return text(value, schema);
  if (Array.isArray(value)) return value.map((item) => celValue(item, schema?.items));
  if (typeof value !== 'object' || value === null) return value;
  const additional = typeof schema?.additionalProperties === 'object' ? schema.additionalProperties : undefined;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => {
      const own = schema?.properties !== undefined && Object.hasOwn(schema.properties, key);
      return own ? [celName(key), celValue(inner, schema.properties?.[key])] : [key, celValue(inner, additional)];
    }),
  );
}

function text(value: string, schema: Schema | undefined): unknown {
  if (schema?.format === 'date-time') {
    const time = new Date(value);
    return Number.isNaN(time.getTime()) ? value : time;
  }
  return schema?.format === 'byte' ? Buffer.from(value, 'base64') : value;
}

/** A field's name as an expression writes it: what CEL has no letters for is spelled out. */
export function celName(field: string): string {
  if (RESERVED.has(field)) return `__${field}__`;
  return field
    .replaceAll('__', '__underscores__')
    .replaceAll('.', '__dot__')
    .replaceAll('-', '__dash__')
    .replaceAll('/', '__slash__');
}

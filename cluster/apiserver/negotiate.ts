/** What form of an answer a client asks for (Kubernetes API concepts, "Receiving resources as Tables"). */
import type { KindDefinition } from '../kinds/kind.ts';
import { isEncodable } from '../kinds/protobuf-encode.ts';
import { StatusError } from './errors.ts';
import { type Exchange, header } from './exchange.ts';
import { apiVersionOf } from './registry.ts';

export type View =
  | { as: 'object'; protobuf?: true }
  | { as: 'table'; apiVersion: string }
  | { as: 'metadata'; apiVersion: string };

export const PROTOBUF = 'application/vnd.kubernetes.protobuf';
const OBJECT: View = { as: 'object' };
/** Of built-in kinds; errors, tables and metadata alone are JSON. */
const AS_PROTOBUF: View = { as: 'object', protobuf: true };
/** YAML is made from JSON at the very end. */
const TYPES = ['application/json', 'application/yaml', 'application/*', '*/*'];

/**
 * @param kind  undefined: what is answered has one form only
 * @param list  a collection (`PartialObjectMetadataList`, and `PartialObjectMetadata` for watches)
 */
export function negotiate(exchange: Exchange, kind: KindDefinition | undefined, list: boolean): View {
  const accept = header(exchange, 'accept');
  if (accept === '' || accept === 'application/json' || accept === '*/*') return OBJECT;
  for (const range of accept.split(',')) {
    const [type = '', ...parameters] = range
      .trim()
      .split(';')
      .map((part) => part.trim());
    if (type === PROTOBUF && !range.includes('as=') && kind !== undefined && isEncodable(apiVersionOf(kind), kind.kind))
      return AS_PROTOBUF;
    if (!TYPES.includes(type)) continue;
    const parameter = (name: string) => parameters.find((one) => one.startsWith(`${name}=`))?.slice(name.length + 1);
    const as = parameter('as');
    if (as === undefined) return OBJECT;
    if (kind === undefined) continue;
    const version = parameter('v') ?? 'v1';
    if (parameter('g') !== 'meta.k8s.io' || (version !== 'v1' && version !== 'v1beta1')) continue;
    if (as === 'Table') return { as: 'table', apiVersion: `meta.k8s.io/${version}` };
    if (as === (list ? 'PartialObjectMetadataList' : 'PartialObjectMetadata'))
      return { as: 'metadata', apiVersion: `meta.k8s.io/${version}` };
  }
  throw new StatusError(
    406,
    'NotAcceptable',
    'only the following media types are accepted: application/json, application/json;as=Table;v=v1;g=meta.k8s.io, application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io, application/vnd.kubernetes.protobuf',
  );
}

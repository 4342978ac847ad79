/**
 * What connects to a pod, a service or a node (exec, attach, portforward, proxy) is asked about too: there the object of the
 * review is how somebody wants to connect, as `PodExecOptions`. Nothing is written, so webhooks that change objects only judge.
 */
import type { ApiObject } from '../../kinds/kind.ts';
import type { Core } from '../core.ts';
import type { Exchange } from '../exchange.ts';
import { type ResourceRequest, isTrue } from '../route.ts';

const OPTIONS: Readonly<Record<string, string>> = {
  'pods/exec': 'PodExecOptions',
  'pods/attach': 'PodAttachOptions',
  'pods/portforward': 'PodPortForwardOptions',
  'pods/proxy': 'PodProxyOptions',
  'services/proxy': 'ServiceProxyOptions',
  'nodes/proxy': 'NodeProxyOptions',
};

export type Connecting = Pick<Exchange, 'user' | 'query' | 'warnings' | 'annotations'>;

/** @throws StatusError where somebody refuses */
export async function admitConnect(
  core: Core,
  { user, query, warnings, annotations }: Connecting,
  request: ResourceRequest,
): Promise<void> {
  const { group, version, resource, subresource, namespace, name } = request;
  const kind = core.registry.find(group, version, resource);
  const options = OPTIONS[`${resource}/${subresource}`];
  if (kind === undefined || options === undefined) return;
  const settle = await core.admission.validate({
    operation: 'CONNECT',
    kind,
    subresource,
    namespace,
    name,
    user,
    sent: { group: '', version: 'v1', kind: options },
    object: { apiVersion: 'v1', kind: options, metadata: {}, ...fieldsOf(request, query) } as ApiObject,
    old: undefined,
    dryRun: false,
    warn: (text) => warnings.push(text),
    annotate: (key, value) => annotations?.set(key, value),
  });
  settle();
}

function fieldsOf({ subresource, rest }: ResourceRequest, query: URLSearchParams): object {
  if (subresource === 'proxy') return rest === '' ? {} : { path: rest };
  if (subresource === 'portforward') {
    const ports = query.getAll('ports').flatMap((text) => text.split(',').map(Number));
    return ports.length === 0 ? {} : { ports };
  }
  const flags = ['stdin', 'stdout', 'stderr', 'tty'].flatMap((name) =>
    isTrue(query.get(name) ?? 'false') ? [[name, true]] : [],
  );
  const container = query.get('container');
  const command = query.getAll('command');
  return {
    ...Object.fromEntries(flags),
    ...(container ? { container } : {}),
    ...(subresource === 'exec' ? { command } : {}),
  };
}

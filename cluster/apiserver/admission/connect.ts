/**
 * What connects to a pod, a service or a node (exec, attach, portforward, proxy) is asked about too: there the object of the
 * review is how somebody wants to connect, as `PodExecOptions`. Nothing is written, so webhooks that change objects only judge.
 */
import type { ApiObject } from '../../kinds/kind.ts';
import type { Core } from '../core.ts';
import type { User } from '../exchange.ts';
import { type ResourceRequest, isTrue } from '../route.ts';

const OPTIONS: Readonly<Record<string, string>> = {
  'pods/exec': 'PodExecOptions',
  'pods/attach': 'PodAttachOptions',
  'pods/portforward': 'PodPortForwardOptions',
  'pods/proxy': 'PodProxyOptions',
  'services/proxy': 'ServiceProxyOptions',
  'nodes/proxy': 'NodeProxyOptions',
};

export interface Connecting {
  user: User;
  query: URLSearchParams;
  warn?: (text: string) => void;
  annotate?: (key: string, value: string) => void;
}

/** @throws StatusError where somebody refuses */
export async function admitConnect(core: Core, request: ResourceRequest, connecting: Connecting): Promise<void> {
  const { group, version, resource, subresource, namespace, name } = request;
  const kind = core.registry.find(group, version, resource);
  const options = OPTIONS[`${resource}/${subresource}`];
  if (kind === undefined || options === undefined) return;
  const ignore = (): void => undefined;
  const settle = await core.admission.validate({
    operation: 'CONNECT',
    kind,
    subresource,
    namespace,
    name,
    user: connecting.user,
    object: { apiVersion: 'v1', kind: options, metadata: {}, ...fieldsOf(request, connecting.query) } as ApiObject,
    old: undefined,
    dryRun: false,
    warn: connecting.warn ?? ignore,
    annotate: connecting.annotate ?? ignore,
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

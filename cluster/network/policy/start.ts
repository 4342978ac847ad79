/** Keeps the policies of a node: see `policy.ts`. */
import { coalesced } from '#lib/coalesced.ts';
import { type IpFamily, addressOfRange, parseIpRange } from '#lib/ip-range.ts';
import { settledBefore } from '#lib/settled-before.ts';
import type { Client, Informer } from '../../client/client.ts';
import { sharedInformer } from '../../client/shared-informer.ts';
import type { Stored } from '../../kinds/kind.ts';
import { namespaces, networkPolicies } from '../../kinds/resources.ts';
import type { Pod } from '../../kinds/types/core.ts';
import { addressesOf } from '../pods.ts';
import { KernelTable } from '../services/kernel-table.ts';
import { tableName } from '../tables.ts';
import type { NetworkPolicies, PodFacts, PolicyOptions } from './policy.ts';
import { canLog } from './logging.ts';
import { Selections } from './selections.ts';
import { renderPolicies } from './table.ts';

const RETRY_MILLISECONDS = 2000;
const ONE_FAMILY: readonly IpFamily[] = [4];
const sourceAnnotation = 'kubernetes.io/config.source';

export function startPolicies(options: PolicyOptions & { client: Client; pods: Informer<Pod> }): NetworkPolicies {
  const { client, pods, nodeName, instance, resolver, families = ONE_FAMILY, log } = options;
  const onWatchError = (error: unknown): void =>
    log('warn', 'a watch for network policies broke off; it is tried again', { error: String(error) });
  const known = sharedInformer(client, namespaces, {}, onWatchError);
  const policies = sharedInformer(
    client,
    networkPolicies,
    { namespace: ({ metadata }) => [metadata.namespace ?? ''] },
    onWatchError,
  );
  const table = new KernelTable(tableName(instance, 'policy'), (error) =>
    log('warn', 'a change of network policies was not taken; all of them are written', { error: String(error) }),
  );
  const selections = new Selections();
  selections.setPod(resolverPod(resolver));
  /** Addresses of pods as the agent told them, which the API shows later. */
  const held = new Map<string, readonly string[]>();
  let isKnown = false;
  let closed = false;
  let logs = false;
  let retry: NodeJS.Timeout | undefined;

  const write = coalesced(async () => {
    if (closed) return;
    const policiesOf = (namespace: string) => policies.byIndex('namespace', namespace);
    await table.write(renderPolicies({ policiesOf, selections, resolver, families, logs }));
  });
  const change = (): void => {
    clearTimeout(retry);
    write().catch((error: unknown) => {
      log('error', 'network policies could not be written; it is tried again', { error: String(error) });
      if (!closed) retry = setTimeout(change, RETRY_MILLISECONDS);
    });
  };

  /** Whether anything changed. */
  const see = (pod: Stored<Pod>): boolean => {
    const facts = factsOf(pod, nodeName, held.get(pod.metadata.uid));
    const before = selections.pod(pod.metadata.uid);
    if (sameFacts(before, facts)) return false;
    if (facts === undefined) forget(pod.metadata.uid);
    else selections.setPod(facts);
    return true;
  };
  const forget = (uid: string): void => {
    held.delete(uid);
    selections.removePod(uid);
  };

  const follow = async (): Promise<void> => {
    [logs] = await Promise.all([canLog(), pods.synced, known.synced, policies.synced]);
    if (!logs) log('info', 'this kernel cannot log connections: what network policies say of that is left out', {});
    for (const { metadata } of known.list()) selections.setNamespace(metadata.name, metadata.labels ?? {});
    for (const pod of pods.list()) see(pod);
    known.onChange((now, old) => {
      const name = (now ?? old)?.metadata.name ?? '';
      selections.setNamespace(name, now && (now.metadata.labels ?? {}));
      change();
    });
    pods.onChange((now, old) => {
      if (now === undefined && old !== undefined) forget(old.metadata.uid);
      if (now === undefined || see(now)) change();
    });
    policies.onChange(change);
    isKnown = true;
    await write();
    table.watch(() => {
      log('warn', 'rules of network policies were taken out by somebody else: putting them back');
      change();
    });
  };
  const ready = follow();
  ready.catch(() => undefined);

  return {
    ready,
    async admit(pod, ips, signal) {
      if (pod.spec?.hostNetwork === true) return;
      const { uid, name, namespace, annotations } = pod.metadata;
      if (annotations?.[sourceAnnotation] === 'file') {
        held.set(uid, ips);
        see(pod);
        // It starts where there is no API, too: with the rules that were there.
        if (isKnown) await write();
        return;
      }
      if (!(await settledBefore(ready, signal))) throw signal.reason;
      await pods.reached(pod.metadata.resourceVersion, signal);
      const seen = pods.get(name, namespace);
      // Gone already, or another has its name: nothing of it will start.
      if (seen?.metadata.uid !== uid) return;
      held.set(uid, ips);
      see(seen);
      await write();
    },
    async close() {
      closed = true;
      clearTimeout(retry);
      table.close();
      known.close();
      policies.close();
      await write().catch(() => undefined);
    },
  };
}

/** Undefined where it has no address that is its own. */
function factsOf(
  { metadata, spec, status }: Stored<Pod>,
  nodeName: string,
  held?: readonly string[],
): PodFacts | undefined {
  const isOver = status?.phase === 'Succeeded' || status?.phase === 'Failed';
  // The agent knows better than the status, which may be of a sandbox before.
  const told = isOver ? [] : (held ?? addressesOf({ metadata, ...(status && { status }) }));
  const ips = firstOfEach(told);
  if (ips.length === 0 || spec?.hostNetwork === true) return undefined;
  const ports = (spec?.containers ?? []).flatMap((container) => container.ports ?? []);
  return {
    uid: metadata.uid,
    namespace: metadata.namespace ?? '',
    labels: metadata.labels ?? {},
    ips,
    isHere: spec?.nodeName === nodeName,
    ports: ports.flatMap(({ name, protocol = 'TCP', containerPort: port }) =>
      name === undefined ? [] : [{ name, protocol: protocol.toLowerCase(), port }],
    ),
  };
}

/** They become a part of a script: whatever somebody wrote into a status, only addresses do. */
function firstOfEach(texts: readonly string[]): string[] {
  const found = texts.flatMap((text) => (text.includes('/') ? [] : (parseIpRange(text) ?? [])));
  const first = ([4, 6] as const).flatMap((family) => found.find((one) => one.family === family) ?? []);
  return first.map((one) => addressOfRange(one, 0n));
}

function sameFacts(one: PodFacts | undefined, other: PodFacts | undefined): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

/** What it would be elsewhere. */
function resolverPod(ip: string): PodFacts {
  const ports = [
    { name: 'dns', protocol: 'udp', port: 53 },
    { name: 'dns-tcp', protocol: 'tcp', port: 53 },
  ];
  return { uid: '', namespace: 'kube-system', labels: { 'k8s-app': 'kube-dns' }, ips: [ip], isHere: false, ports };
}

/** Whether the kernel and the disk of the node have what the API's pods need, and nothing besides. Asked while none of its processes runs. */
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { engineOptions } from '#bin/engine-options.ts';
import { readInstance } from '#bin/instance.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import { localHandle } from '#cluster/kinds/local-volume.ts';
import type { PersistentVolume, Pod } from '#cluster/kinds/types/core.ts';
import { tableName } from '#cluster/network/tables.ts';
import { type OpenedEngine, openEngine } from '#engine/open.ts';
import { orphans } from '../kill/agreement.ts';
import type { ClusterUnderFire } from './cluster.ts';

export interface Known {
  pods: readonly Stored<Pod>[];
  volumes: readonly Stored<PersistentVolume>[];
}

/** A line for each thing that nobody knows, and each that is missing. */
export async function nodeDifferences(cluster: ClusterUnderFire, known: Known): Promise<string[]> {
  const instance = readInstance({ name: cluster.name, data: cluster.dataDirectory });
  if (instance === undefined) throw new Error('there is no instance');
  const options = { ...engineOptions(instance), sandboxPool: 0 };
  const engine = await openEngine(options);
  try {
    return [
      ...(await orphans(engine, options)),
      ...sandboxDifferences(engine, known),
      ...volumeDifferences(engine, known),
      ...fileDifferences(cluster, known),
      ...addressDifferences(cluster, known),
    ];
  } finally {
    await engine.close();
  }
}

function isOver({ status }: Stored<Pod>): boolean {
  return status?.phase === 'Succeeded' || status?.phase === 'Failed';
}

function sandboxDifferences(engine: OpenedEngine, { pods }: Known): string[] {
  const found: string[] = [];
  const owners = engine.sandboxes().map(({ labels }) => labels['io.kubernetes.pod.uid'] ?? '');
  const uids = new Set(pods.map(({ metadata }) => metadata.uid));
  for (const uid of owners) if (!uids.has(uid)) found.push(`a sandbox of ${uid || 'nobody'} is there`);
  for (const { metadata, status } of pods) {
    const own = owners.filter((uid) => uid === metadata.uid).length;
    if (own !== 1) found.push(`${metadata.name}, ${status?.phase}, has ${own} sandboxes`);
  }
  for (const pod of pods) {
    if (isOver(pod)) continue;
    const running = engine
      .containers()
      .filter(({ labels, state }) => labels['io.kubernetes.pod.uid'] === pod.metadata.uid && state === 'running')
      .map(({ id }) => `sampan://${id}`);
    const told = pod.status?.containerStatuses?.map(({ containerID }) => containerID) ?? [];
    if (running.join() !== told.join()) found.push(`${pod.metadata.name} runs ${running.join()}, not ${told.join()}`);
  }
  return found;
}

/** A disk volume for each emptyDir of a pod that runs, and for each PersistentVolume. */
function volumeDifferences(engine: OpenedEngine, { pods, volumes }: Known): string[] {
  const handles = volumes.flatMap((volume) => localHandle(volume) ?? []);
  const scratches = pods
    .filter((pod) => !isOver(pod))
    .flatMap(({ metadata, spec }) =>
      (spec?.volumes ?? []).flatMap(({ name, emptyDir }) => (emptyDir ? [`-${metadata.uid}-${name}`] : [])),
    );
  const all = engine.diskVolumes.list();
  const isKnown = (name: string): boolean => handles.includes(name) || scratches.some((end) => name.endsWith(end));
  return [
    ...all.filter(({ name }) => !isKnown(name)).map(({ name, kind }) => `${kind} volume ${name} is nobody's`),
    ...[...handles, ...scratches]
      .filter((end) => !all.some(({ name }) => name.endsWith(end)))
      .map((end) => `no volume ${end}`),
  ];
}

/** What the agent keeps of pods on disk. */
function fileDifferences({ dataDirectory }: ClusterUnderFire, { pods }: Known): string[] {
  const uids = new Set(pods.map(({ metadata }) => metadata.uid));
  return readdirSync(join(dataDirectory, 'node'), { recursive: true, encoding: 'utf8' })
    .filter((path) => /^pods\/[^/]+$/.test(path) && !uids.has(path.slice('pods/'.length)))
    .map((path) => `directory ${path}`);
}

/** No rule leads to, or speaks of, the address of a pod that is gone. */
function addressDifferences({ instance }: ClusterUnderFire, { pods }: Known): string[] {
  const own = new Set(pods.filter((pod) => !isOver(pod)).map(({ status }) => status?.podIP));
  const prefix = instance.network.podCidr.replace(/\.0\/\d+$/, '.');
  const names = execFileSync('nft', ['list', 'tables', 'inet'], { encoding: 'utf8' })
    .split('\n')
    .map((line) => line.replace('table inet ', ''))
    .filter((name) => name.startsWith(tableName(instance.name, '')));
  return names.flatMap((name) => {
    const text = execFileSync('nft', ['list', 'table', 'inet', name], { encoding: 'utf8' });
    const spoken = new Set(text.match(/\d+\.\d+\.\d+\.\d+(?!\/)/g)?.filter((ip) => ip.startsWith(prefix)));
    // The node's own, where pods reach it.
    spoken.delete(`${prefix}1`);
    return [...spoken].filter((ip) => !own.has(ip)).map((ip) => `table ${name} speaks of ${ip}, which is no pod's`);
  });
}

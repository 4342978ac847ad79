/**
 * What this node tells the cluster of its drivers: its CSINode, and of the Node the annotation and labels that drivers' own programs
 * read, and which volumes are in use.
 */
import { orUndefined } from '../../client/api-errors.ts';
import { ApiError, type Client } from '../../client/client.ts';
import type { Stored } from '../../kinds/kind.ts';
import { csiNodes, nodes } from '../../kinds/resources.ts';
import type { CSINode, CSINodeDriver } from '../../kinds/types/storage.ts';
import type { NodeInfo } from './messages.ts';

const IDS = 'csi.volume.kubernetes.io/nodeid';
const LARGEST_COUNT = 2 ** 31 - 1;

export class OwnNode {
  readonly #client: Client;
  readonly #name: string;
  #inUse = '';

  constructor(client: Client, name: string) {
    this.#client = client;
    this.#name = name;
  }

  async add(driver: string, info: NodeInfo): Promise<void> {
    if (info.nodeId === '') throw new Error(`CSI driver "${driver}": its NodeGetInfo names no node_id`);
    await this.#setLabels(driver, info.topology);
    await this.#setId(driver, info.nodeId);
    await this.#change((drivers) => [...drivers.filter(({ name }) => name !== driver), entryOf(driver, info)]);
  }

  async remove(driver: string): Promise<void> {
    await this.#change((drivers) => drivers.filter(({ name }) => name !== driver));
    await this.#setId(driver, null);
  }

  /** Resolves when the Node says so: whoever detaches volumes reads it. */
  async setInUse(volumes: readonly string[]): Promise<void> {
    const wanted = [...new Set(volumes)].sort();
    if (wanted.join() === this.#inUse) return;
    const body = { status: { volumesInUse: wanted } };
    await this.#client.patch(nodes, this.#name, { type: 'merge', body }, { subresource: 'status' });
    this.#inUse = wanted.join();
  }

  async #setLabels(driver: string, topology: Record<string, string>): Promise<void> {
    const { metadata } = await this.#client.get(nodes, this.#name);
    const known = metadata.labels ?? {};
    const clash = Object.keys(topology).find((key) => known[key] !== undefined && known[key] !== topology[key]);
    if (clash !== undefined)
      throw new Error(
        `CSI driver "${driver}": its topology says ${clash}=${topology[clash]}, and the node has the label ${clash}=${known[clash]}`,
      );
    if (Object.keys(topology).every((key) => known[key] === topology[key])) return;
    const body = { metadata: { labels: topology } };
    await this.#client.patch(nodes, this.#name, { type: 'merge', body });
  }

  /** A map of all drivers as JSON: read and written with the revision that was read. */
  async #setId(driver: string, id: string | null): Promise<void> {
    await again(async () => {
      const { metadata } = await this.#client.get(nodes, this.#name);
      const known = idsIn(metadata.annotations?.[IDS]);
      const { [driver]: before, ...others } = known;
      if ((before ?? null) === id) return;
      const ids = id === null ? others : { ...others, [driver]: id };
      const value = Object.keys(ids).length === 0 ? null : JSON.stringify(ids);
      const body = { metadata: { resourceVersion: metadata.resourceVersion, annotations: { [IDS]: value } } };
      await this.#client.patch(nodes, this.#name, { type: 'merge', body });
    });
  }

  async #change(next: (drivers: readonly CSINodeDriver[]) => CSINodeDriver[]): Promise<void> {
    await again(async () => {
      const found = await this.#find();
      const drivers = next(found?.spec.drivers ?? []);
      if (found !== undefined) {
        if (JSON.stringify(drivers) !== JSON.stringify(found.spec.drivers))
          await this.#client.update(csiNodes, { ...found, spec: { drivers } });
        return;
      }
      const { uid } = (await this.#client.get(nodes, this.#name)).metadata;
      const owner = { apiVersion: 'v1', kind: 'Node', name: this.#name, uid };
      await this.#client.create(csiNodes, {
        metadata: { name: this.#name, ownerReferences: [owner] },
        spec: { drivers },
      });
    });
  }

  async #find(): Promise<Stored<CSINode> | undefined> {
    return await orUndefined(this.#client.get(csiNodes, this.#name));
  }
}

function entryOf(name: string, { nodeId, maxVolumes, topology }: NodeInfo): CSINodeDriver {
  return {
    name,
    nodeID: nodeId,
    topologyKeys: Object.keys(topology).sort(),
    ...(maxVolumes > 0 && { allocatable: { count: Math.min(maxVolumes, LARGEST_COUNT) } }),
  };
}

function idsIn(text: string | undefined): Record<string, string> {
  try {
    return text === undefined ? {} : (JSON.parse(text) as Record<string, string>);
  } catch {
    return {}; // Somebody else's words: they are replaced.
  }
}

/** Somebody else wrote it meanwhile. */
async function again(attempt: () => Promise<void>): Promise<void> {
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof ApiError && error.code === 409)) throw error;
    }
  }
}

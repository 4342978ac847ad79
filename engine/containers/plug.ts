/** A sandbox's link by CNI plugins: what it is for, checked, and what it got. */
import { EngineError, type Sandbox, type SandboxSpec } from '../engine.ts';
import type { CniNetwork } from '../network/cni/network.ts';
import { BRIDGE } from './attachments.ts';

export function refuseNetworks(): EngineError {
  return new EngineError('unavailable', 'networks: this engine has its network from CNI plugins, and no other');
}

/** Nothing is done for one that has no network or the host's. */
export async function plug(cni: CniNetwork, sandbox: Sandbox, spec: SandboxSpec): Promise<Sandbox> {
  const { networks = [{ network: BRIDGE }], mac, egress = 'cluster', networkArguments = {} } = spec;
  if (sandbox.network === 'host') return sandbox;
  if (networks.some(({ network }) => network !== BRIDGE)) throw refuseNetworks();
  if (egress !== 'cluster')
    throw new EngineError(
      'unavailable',
      `egress: ${egress} is kept by the built-in network alone, and this engine has its network from CNI plugins`,
    );
  if (mac !== undefined)
    throw new EngineError(
      'unavailable',
      'mac: where the network is by CNI plugins, they choose the address of the link',
    );
  if (networks.length === 0) return { ...sandbox, networks: [] };
  const { id, networkNamespacePath: namespacePath } = sandbox;
  return { ...sandbox, ...(await cni.add({ sandbox: id, namespacePath, args: networkArguments })) };
}

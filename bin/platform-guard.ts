/** Where URLs that users of the platform give may not lead: to this host, its nodes, pods and services. */
import { networkInterfaces } from 'node:os';
import { type AddressGuard, addressGuard } from '#lib/guarded-address.ts';
import type { Informers } from '#platform/resources/informers.ts';
import { pods } from '#platform/resources/kubernetes.ts';
import type { Instance } from './instance.ts';

export function platformGuard({ network, outbound = [] }: Instance, informers: Informers): AddressGuard {
  const { clusterCidr, serviceCidr, ipv6, networkPool, loadBalancerPool = [] } = network;
  const ranges = [
    clusterCidr,
    serviceCidr,
    ...(ipv6 === undefined ? [] : [ipv6.clusterCidr, ipv6.serviceCidr]),
    ...loadBalancerPool,
    ...(networkPool === undefined ? [] : [networkPool]),
  ];
  const hosts = (): string[] =>
    Object.values(networkInterfaces()).flatMap((addresses) => (addresses ?? []).map(({ address }) => address));
  // Of other hosts those that run something of ours.
  const nodes = (): string[] => [
    ...new Set(
      informers
        .of(pods)
        .list()
        .map(({ status }) => status?.hostIP ?? ''),
    ),
  ];
  return addressGuard(() => [...ranges, ...hosts(), ...nodes()], outbound);
}

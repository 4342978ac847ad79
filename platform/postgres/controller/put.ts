/** Brings the cluster's objects to what is wanted. */
import { X509Certificate } from 'node:crypto';
import { orUndefined } from '#cluster/client/api-errors.ts';
import type { ClientObject } from '#cluster/client/client.ts';
import type { Stored, TypedResource } from '#cluster/kinds/kind.ts';
import { networkPolicies, persistentVolumeClaims, secrets, services, statefulSets } from '#cluster/kinds/resources.ts';
import type { NetworkPolicyPeer } from '#cluster/kinds/types/networking.ts';
import type { KeyPair } from '#lib/certificates.ts';
import { equivalent } from '../../resources/definitions.ts';
import { issue } from '../authority.ts';
import { claimFor, hostnameOf, ownedBy, policyFor, serviceFor, statefulSetFor, TEMPLATE } from '../objects.ts';
import { NAMESPACE, type Plan } from '../postgres.ts';
import { labels } from '../resource.ts';
import { CLIENT } from '../bindings.ts';
import { bindingsOf, type Database, type PostgresContext, type Watches } from './context.ts';

const RENEW_BEFORE = 30 * 86_400_000;

/** @returns the digest of what its pod is to run */
export async function putObjects(
  context: PostgresContext,
  watches: Watches,
  wanted: { database: Database; plan: Plan; image: string },
): Promise<string> {
  const { database, plan, image } = wanted;
  await putCertificate(context, database);
  await put(context, services, serviceFor(database));
  await put(context, networkPolicies, policyFor(database, clientsOf(watches, database)));
  await put(context, persistentVolumeClaims, claimFor(database, plan));
  const set = statefulSetFor(database, plan, image);
  await put(context, statefulSets, set);
  return set.spec?.template.metadata?.annotations?.[TEMPLATE] ?? '';
}

function clientsOf(watches: Watches, { metadata }: Database): NetworkPolicyPeer[] {
  const texts = bindingsOf(watches, metadata.name)
    .filter((binding) => binding.metadata.deletionTimestamp === undefined)
    .flatMap((binding) => binding.metadata.annotations?.[CLIENT] ?? []);
  return [...new Set(texts)].sort().map((text) => JSON.parse(text) as NetworkPolicyPeer);
}

async function find<T extends ClientObject>(
  context: PostgresContext,
  resource: TypedResource<T>,
  name: string,
): Promise<Stored<T> | undefined> {
  return await orUndefined(context.client.get(resource, name, NAMESPACE));
}

async function put<T extends ClientObject & { spec?: object }>(
  context: PostgresContext,
  resource: TypedResource<T>,
  wanted: T,
): Promise<void> {
  const current = await find(context, resource, wanted.metadata.name ?? '');
  if (current === undefined) await context.client.create(resource, wanted);
  else if (!equivalent(current.spec, wanted.spec)) {
    // What the server has added (an address, a volume's name) stays.
    await context.client.update(resource, { ...current, spec: { ...current.spec, ...wanted.spec } });
  }
}

async function putCertificate(context: PostgresContext, database: Database): Promise<void> {
  const { name } = database.metadata;
  const secretName = `${name}-tls`;
  const current = await find(context, secrets, secretName);
  const certificate = current?.data?.['tls.crt'];
  const authority = await context.authority();
  if (certificate !== undefined && isGood(Buffer.from(certificate, 'base64'), authority, context.now())) return;
  const short = `${name}.${NAMESPACE}`;
  const pair = await issue(authority, [hostnameOf(name, context.clusterDomain), `${short}.svc`, short]);
  const stringData = { 'tls.crt': pair.certificate, 'tls.key': pair.key };
  if (current) await context.client.update(secrets, { ...current, stringData });
  else {
    await context.client.create(secrets, {
      metadata: {
        name: secretName,
        namespace: NAMESPACE,
        labels: { [labels.database]: name },
        ownerReferences: ownedBy(database),
      },
      type: 'kubernetes.io/tls',
      stringData,
    });
  }
}

/** Of the authority that there is now, and for long enough. */
function isGood(pem: Buffer, authority: KeyPair, now: number): boolean {
  const certificate = new X509Certificate(pem);
  const signed = certificate.verify(new X509Certificate(authority.certificate).publicKey);
  return signed && certificate.validToDate.getTime() - now > RENEW_BEFORE;
}

/** Certificates of domains: not a part of Cloud Foundry's API, where the router's are its operator's. */
import type { Stored } from '#cluster/kinds/kind.ts';
import { forgetCertificate, keepCertificate } from '../../certificates/kept.ts';
import { readUpload, type Uploaded, UploadRefusal, uploadedName } from '../../certificates/uploaded.ts';
import type { Domain, DomainCertificate } from '../../resources/types.ts';
import type { ApiRequest, Context, Endpoint } from '../api.ts';
import { unprocessable } from '../errors.ts';
import { listReply } from '../listing.ts';
import { presentCertificate } from '../present/certificates.ts';
import { Reader } from '../validate.ts';
import { readableDomain, writableDomain } from './domains.ts';

export function certificateEndpoints(context: Context): Endpoint[] {
  const { records, urls } = context;
  return [
    {
      method: 'GET',
      path: '/v3/domains/:guid/certificates',
      auth: 'user',
      summary: 'List the certificates that the router has, or should have, for hosts of a domain, and how they stand.',
      handle: (request) => {
        const domain = readableDomain(context, request);
        return listReply(context, request, {
          items: visible(context, request, domain),
          present: (certificate) => presentCertificate(urls, certificate),
          filters: {
            sources: ({ spec }, values) => values.includes(spec.source),
            states: ({ status }, values) => values.includes(status?.state ?? 'PENDING'),
          },
        });
      },
    },
    {
      method: 'PUT',
      path: '/v3/domains/:guid/certificate',
      auth: 'user',
      summary: 'Bring a certificate of your own for hosts of a domain, in place of the one before.',
      handle: async (request) => {
        const domain = writableDomain(context, request);
        if (domain.spec.internal) throw unprocessable('Internal domains have no certificates.');
        const reader = new Reader(request.body).only('certificate', 'private_key');
        const [chain, key] = [reader.string('certificate'), reader.string('private_key')];
        if (chain === undefined) reader.fail('Certificate must be there, as PEM');
        if (key === undefined) reader.fail('Private key must be there, as PEM');
        reader.done();
        const uploaded = read(context, domain, chain ?? '', key ?? '');
        const stored = await keep(context, domain, uploaded);
        await tell(context, request, domain, 'audit.domain.certificate-upload', { hosts: uploaded.hosts });
        return { status: 200, body: presentCertificate(urls, stored) };
      },
    },
    {
      method: 'DELETE',
      path: '/v3/domains/:guid/certificate',
      auth: 'user',
      summary:
        'Take back the certificate that was brought for a domain; what the platform gets itself is offered again.',
      handle: async (request) => {
        const domain = writableDomain(context, request);
        const name = uploadedName(domain.metadata.name);
        if (records.domainCertificates.get(name) === undefined) return { status: 204 };
        await records.domainCertificates.delete(name);
        await forgetCertificate(context.client, name);
        await tell(context, request, domain, 'audit.domain.certificate-delete', {});
        return { status: 204 };
      },
    },
  ];
}

function read({ now }: Context, { spec }: Stored<Domain>, chain: string, key: string): Uploaded {
  try {
    return readUpload(spec.displayName, chain, key, now());
  } catch (error) {
    if (error instanceof UploadRefusal) throw unprocessable(`${error.message}.`);
    throw error;
  }
}

/** The Secret first: an object of it counts at once. */
async function keep(
  { client, records }: Context,
  { metadata }: Stored<Domain>,
  uploaded: Uploaded,
): Promise<Stored<DomainCertificate>> {
  const name = uploadedName(metadata.name);
  const { hosts } = uploaded;
  await keepCertificate(client, name, uploaded);
  if (records.domainCertificates.get(name) !== undefined)
    return await records.domainCertificates.modify(name, (current) => ({
      ...current,
      spec: { ...current.spec, hosts },
    }));
  return await records.domainCertificates.create({
    metadata: { name },
    spec: { source: 'uploaded', domain: metadata.name, hosts },
  });
}

/** Hosts of a shared domain are of many: everybody sees those of routes that they see, and what is the domain's own. */
function visible(
  { records, access }: Context,
  { identity }: ApiRequest,
  domain: Stored<Domain>,
): Stored<DomainCertificate>[] {
  const all = records.domainCertificates.all().filter(({ spec }) => spec.domain === domain.metadata.name);
  if (identity.reads !== 'own') return all;
  const hosts = new Set(
    records.routes
      .all()
      .filter((route) => {
        const space = route.spec.domain === domain.metadata.name ? records.spaceOf(route) : undefined;
        return space !== undefined && access.readsSpace(identity, space);
      })
      .map(({ spec }) => (spec.host === '' ? spec.domainName : `${spec.host}.${spec.domainName}`).toLowerCase()),
  );
  return all.filter(({ spec }) => spec.source !== 'acme' || spec.hosts.every((host) => hosts.has(host)));
}

async function tell(
  { audit }: Context,
  { identity }: ApiRequest,
  { metadata, spec }: Stored<Domain>,
  type: string,
  data: Record<string, unknown>,
): Promise<void> {
  const { organization } = spec;
  await audit.record({
    type,
    actor: identity,
    target: { guid: metadata.name, type: 'domain', name: spec.displayName },
    ...(organization === undefined ? {} : { organization }),
    data,
  });
}

/** Domains and the certificates of their hosts. */
import type { Api } from '../api.ts';
import { byName } from '../context.ts';
import { CliError } from '../errors.ts';
import { readGivenFile } from '../given-file.ts';
import { note, print, printJson, table } from '../output.ts';
import type { Certificate, Domain } from '../resources.ts';

export async function domains(api: Api, options: { json?: boolean }): Promise<void> {
  const all = await api.all<Domain>('/v3/domains');
  const views = await Promise.all(
    all.map(async (domain) => ({
      guid: domain.guid,
      name: domain.name,
      availability: domain.internal ? 'internal' : domain.relationships.organization?.data ? 'private' : 'shared',
      certificates: await api.all<Certificate>(`/v3/domains/${domain.guid}/certificates`),
    })),
  );
  if (options.json) return printJson(views);
  print(
    table(
      views.map((view) => [view.name, view.availability]),
      ['domain', 'availability'],
    ),
  );
  const rows = views.flatMap(({ certificates }) => certificates.map(rowOf));
  if (rows.length > 0) print(`\n${table(rows, ['hosts', 'certificate', 'state', 'expires', 'problem'])}`);
}

function rowOf({ hosts, source, state, not_after: expires, error }: Certificate): string[] {
  return [hosts.join(', '), source, state.toLowerCase(), expires?.slice(0, 10) ?? '', error?.detail ?? ''];
}

export async function setCertificate(api: Api, name: string, files: { cert: string; key: string }): Promise<void> {
  const domain = await requireDomain(api, name);
  const { hosts, not_after: expires } = await api.json<Certificate>('PUT', `/v3/domains/${domain.guid}/certificate`, {
    certificate: readGivenFile(files.cert, 'Give a file in PEM as --cert.'),
    private_key: readGivenFile(files.key, 'Give a file in PEM as --key.'),
  });
  note(`${hosts.join(', ')} have it${expires === null ? '' : ` until ${expires.slice(0, 10)}`}.`);
}

export async function unsetCertificate(api: Api, name: string): Promise<void> {
  const domain = await requireDomain(api, name);
  await api.delete(`/v3/domains/${domain.guid}/certificate`);
  note(`${name} has none of yours any more.`);
}

async function requireDomain(api: Api, name: string): Promise<Domain> {
  const domain = await byName<Domain>(api, `/v3/domains?names=${encodeURIComponent(name)}`);
  if (domain) return domain;
  throw new CliError(`There is no domain ${JSON.stringify(name)}.`, 'See `sampan domains`.');
}

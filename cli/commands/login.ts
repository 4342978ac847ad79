import type { Api } from '../api.ts';
import { ask } from '../ask.ts';
import { type SpaceContext, byName } from '../context.ts';
import { ApiError, CliError } from '../errors.ts';
import { readGivenFile } from '../given-file.ts';
import { note, print, printJson } from '../output.ts';
import type { Named } from '../resources.ts';

/** The answers are the same in both. */
const VERSIONS = ['client.authentication.k8s.io/v1', 'client.authentication.k8s.io/v1beta1'] as const;

export interface LoginOptions {
  user?: string;
  password?: string;
  passwordFile?: string;
  organization?: string;
  space?: string;
}

/** Logs in by name and password, and remembers the tokens, and where to work where that was said. */
export async function login(api: Api, options: LoginOptions): Promise<void> {
  const remedy = 'Give -u NAME and --password-file FILE.';
  const username = options.user ?? (await ask({ text: 'User: ', remedy }));
  const password = options.passwordFile
    ? readGivenFile(options.passwordFile, 'Give a file that holds the password as --password-file.').trim()
    : (options.password ?? process.env.CF_PASSWORD ?? (await ask({ text: 'Password: ', hidden: true, remedy })));
  try {
    await api.login(username, password);
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 401) throw error;
    throw new CliError(
      `${error.message}: ${username} is not let in.`,
      "Check name and password; the first administrator's is in the file admin-password of the data directory.",
      { cause: error },
    );
  }
  const { ca, dial } = api.target;
  api.remember(ca !== undefined && dial === undefined ? { ca } : {}, { current: true });
  note(`You are ${username} at ${api.target.api}.`);
  if (options.organization ?? options.space) await target(api, options);
}

/** An `ExecCredential` in the version that kubectl asks for, which keeps it until the token ends. */
export async function kubernetesToken(api: Api): Promise<void> {
  const apiVersion = askedVersion();
  const token = await api.accessToken();
  const claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as { exp: number };
  const expirationTimestamp = new Date(claims.exp * 1000).toISOString().replace(/\.\d+Z$/, 'Z');
  print(
    JSON.stringify({
      apiVersion,
      kind: 'ExecCredential',
      status: { token, expirationTimestamp },
    }),
  );
}

/** The plugin's kubeconfig names one, and no other is taken: https://kubernetes.io/docs/reference/config-api/client-authentication.v1/ */
function askedVersion(): string {
  const info = process.env.KUBERNETES_EXEC_INFO;
  const asked = info === undefined ? VERSIONS[0] : (JSON.parse(info) as { apiVersion: string }).apiVersion;
  if (VERSIONS.some((version) => version === asked)) return asked;
  throw new CliError(`kubectl asks for credentials of ${JSON.stringify(asked)}.`, `Name ${VERSIONS.join(' or ')}.`);
}

/** Shows or chooses the organization and space that commands work in. */
export async function target(api: Api, options: { organization?: string; space?: string }): Promise<void> {
  const name = options.organization ?? api.session.organization;
  if (options.organization ?? options.space) await requireTarget(api, name ?? 'default', options.space);
  if (options.organization ?? options.space) {
    api.remember({ ...(name ? { organization: name } : {}), ...(options.space ? { space: options.space } : {}) });
  }
  print(
    `api:   ${api.target.api}\nuser:  ${api.session.username ?? '(nobody)'}\norg:   ${api.session.organization ?? 'default'}\nspace: ${api.session.space ?? 'dev'}`,
  );
}

async function requireTarget(api: Api, organization: string, space: string | undefined): Promise<void> {
  const found = await byName<Named>(api, `/v3/organizations?names=${encodeURIComponent(organization)}`);
  if (!found) throw new CliError(`There is no organization ${JSON.stringify(organization)}.`, 'See `sampan orgs`.');
  if (space === undefined) return;
  const query = `names=${encodeURIComponent(space)}&organization_guids=${found.guid}`;
  if (await byName<Named>(api, `/v3/spaces?${query}`)) return;
  throw new CliError(
    `There is no space ${JSON.stringify(space)} in ${organization}, or you have no role in it.`,
    'See `sampan spaces`.',
  );
}

export async function organizations(api: Api, options: { json?: boolean }): Promise<void> {
  const list = await api.all<Named>('/v3/organizations?order_by=name');
  if (options.json) printJson(list);
  else print(list.map((organization) => organization.name).join('\n'));
}

export async function spaces({ api, organization }: SpaceContext, options: { json?: boolean }): Promise<void> {
  const list = await api.all<Named>(`/v3/spaces?organization_guids=${organization.guid}&order_by=name`);
  if (options.json) printJson(list);
  else print(list.map((space) => space.name).join('\n'));
}

/**
 * Where tokens are made: `GET /token?service=…&scope=…` with a user's credentials or with none (Docker's "Token
 * Authentication Specification"), and `POST /token` as a form (its OAuth2 variant, grant type `password`). What is granted
 * is what of the scopes `authorize` allows; a token may grant nothing, and is then good for `/v2/` alone.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { readBounded } from '#lib/read-bounded.ts';
import { type Caller, type Doorkeeper, parseBasic, unauthorized, userOf } from './caller.ts';
import { RegistryError } from './errors.ts';
import type { RegistryAction } from './exchange.ts';
import { type Access, parseScopes, signToken, TOKEN_SECONDS } from './tokens.ts';

const LARGEST_FORM = 64 * 1024;

export async function answerToken(
  keeper: Doorkeeper,
  request: IncomingMessage,
  response: ServerResponse,
  query: URLSearchParams,
): Promise<void> {
  const form = request.method === 'POST' ? await readForm(request) : undefined;
  const asked = form ?? query;
  const service = asked.get('service');
  if (service !== null && service !== keeper.service)
    throw invalid(`service ${JSON.stringify(service)} is not this registry, which is "${keeper.service}"`);
  const scopes = parseScopes(asked.getAll('scope'));
  if (scopes === undefined) throw invalid('there are too many scopes for one token');
  const caller = userOf(keeper, request, form === undefined ? basicOf(request) : passwordOf(form));
  // A wrong password is told at once: a token without rights would hide it from `docker login`.
  if (caller.name !== '' && !(await caller.isKnown())) throw unauthorized(keeper, request);
  const access = await granted(caller, scopes);
  const now = Date.now();
  const token = signToken(keeper.tokenKey, keeper.service, { subject: caller.name, access }, now);
  const body = Buffer.from(
    JSON.stringify({
      token,
      access_token: token,
      expires_in: TOKEN_SECONDS,
      issued_at: new Date(now).toISOString(),
      ...(form === undefined
        ? {}
        : {
            token_type: 'Bearer',
            scope: access
              .filter(({ actions }) => actions.length > 0)
              .map(scopeText)
              .join(' '),
          }),
    }),
  );
  response.writeHead(200, {
    'content-type': 'application/json',
    'content-length': body.length,
    'cache-control': 'no-store',
  });
  response.end(body);
}

async function granted(caller: Caller, scopes: readonly Access[]): Promise<Access[]> {
  const access: Access[] = [];
  for (const { type, name, actions } of scopes) {
    const allowed: string[] = [];
    for (const action of actions) {
      const mayI =
        type === 'registry' ? await caller.allows('catalog', '') : await caller.allows(action as RegistryAction, name);
      if (mayI) allowed.push(action);
    }
    const refused = actions.filter((action) => !allowed.includes(action));
    access.push({ type, name, actions: allowed, ...(refused.length === 0 ? {} : { refused }) });
  }
  return access;
}

function basicOf(request: IncomingMessage): { username?: string; password?: string } {
  return parseBasic(request.headers.authorization ?? '');
}

function passwordOf(form: URLSearchParams): { username?: string; password?: string } {
  const grant = form.get('grant_type');
  if (grant !== 'password') throw invalid(`grant_type ${JSON.stringify(grant)} is not supported; password is`);
  return { username: form.get('username') ?? '', password: form.get('password') ?? '' };
}

async function readForm(request: IncomingMessage): Promise<URLSearchParams> {
  const type = request.headers['content-type']?.split(';')[0]?.trim().toLowerCase();
  if (type !== 'application/x-www-form-urlencoded')
    throw new RegistryError('UNSUPPORTED', 'a token is asked for with a form (application/x-www-form-urlencoded)', {
      status: 415,
    });
  const chunks: AsyncIterable<Buffer> = request.iterator({ destroyOnReturn: false });
  const tooLong = () =>
    new RegistryError('UNSUPPORTED', `the form has more than ${LARGEST_FORM} bytes`, { status: 413 });
  return new URLSearchParams((await readBounded(chunks, LARGEST_FORM, tooLong)).toString('utf8'));
}

function scopeText({ type, name, actions }: Access): string {
  return `${type}:${name}:${actions.join(',')}`;
}

function invalid(message: string): RegistryError {
  return new RegistryError('UNSUPPORTED', message, { status: 400 });
}

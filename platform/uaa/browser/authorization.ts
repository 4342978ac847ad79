/**
 * What a client asks for at `/oauth/authorize` (RFC 6749 section 4.1.1, PKCE by RFC 7636, OpenID Connect Core 3.1.2.1), checked.
 * Until client and redirect URI are known to belong together nobody is sent anywhere: a person is told on a page. From then on
 * the client is told, at its redirect URI.
 */
import type { ClientFacts, Clients } from '../clients.ts';
import { UaaError } from '../uaa.ts';

export interface Authorization {
  client: ClientFacts;
  redirectUri: string;
  /** The client named it, and must name the same one for the token (RFC 6749 section 4.1.3). */
  namedRedirect: boolean;
  /** Empty: all that there are. */
  scopes: string[];
  state?: string;
  /** base64url of the verifier's SHA-256. */
  challenge?: string;
  nonce?: string;
  /** `none`: nobody may be asked; `login`: anew; `consent`: anew. */
  prompt: string[];
}

/** Of RFC 6749 section 4.1.2.1 and OpenID Connect Core 3.1.2.6. */
export type AuthorizationErrorCode =
  | 'invalid_request'
  | 'unauthorized_client'
  | 'access_denied'
  | 'unsupported_response_type'
  | 'invalid_scope'
  | 'login_required'
  | 'consent_required';

/** Something that the client is told of. */
export class AuthorizationRefused extends Error {
  readonly redirectUri: string;
  readonly state: string | undefined;
  readonly code: AuthorizationErrorCode;
  constructor(to: Pick<Authorization, 'redirectUri' | 'state'>, code: AuthorizationErrorCode, message: string) {
    super(message);
    this.name = 'AuthorizationRefused';
    this.redirectUri = to.redirectUri;
    this.state = to.state;
    this.code = code;
  }
}

const LONGEST = 2_000;
const PROMPTS = ['none', 'login', 'consent', 'select_account'];

/** Throws `UaaError` for people and `AuthorizationRefused` for the client. */
export async function readAuthorization(clients: Clients, query: URLSearchParams): Promise<Authorization> {
  const id = single(query, 'client_id') ?? '';
  const client = await clients.find(id);
  if (!client) throw new UaaError('invalid_request', `No client with requested id: ${id.slice(0, 60)}`);
  const asked = single(query, 'redirect_uri');
  const redirectUri = asked ?? (client.redirectUris.length === 1 ? client.redirectUris[0] : undefined);
  if (redirectUri === undefined || !client.redirectUris.some((known) => sameRedirect(known, redirectUri))) {
    throw new UaaError(
      'invalid_request',
      `The client ${id.slice(0, 60)} has not registered the redirect_uri ${JSON.stringify((asked ?? '').slice(0, 200))}`,
    );
  }
  const state = query.get('state') ?? undefined;
  const to = { redirectUri, ...(state === undefined ? {} : { state }) };
  const wrong = problemOf(client, query);
  if (wrong) throw new AuthorizationRefused(to, ...wrong);
  const [challenge, nonce] = [query.get('code_challenge'), query.get('nonce')];
  return {
    ...to,
    client,
    namedRedirect: asked !== undefined,
    scopes: words(query.get('scope')),
    ...(challenge === null ? {} : { challenge }),
    ...(nonce === null ? {} : { nonce }),
    prompt: words(query.get('prompt')),
  };
}

function problemOf(client: ClientFacts, query: URLSearchParams): [AuthorizationErrorCode, string] | undefined {
  const repeated = [...new Set(query.keys())].find((name) => query.getAll(name).length > 1);
  if (repeated !== undefined) return ['invalid_request', `${repeated.slice(0, 60)} is given twice`];
  const long = [...query].find(([, value]) => value.length > LONGEST);
  if (long) return ['invalid_request', `${long[0].slice(0, 60)} is longer than ${LONGEST} characters`];
  const type = query.get('response_type');
  if (type !== 'code') return ['unsupported_response_type', 'The only response_type here is code'];
  if ((query.get('response_mode') ?? 'query') !== 'query')
    return ['invalid_request', 'The only response_mode here is query'];
  if (query.has('request') || query.has('request_uri'))
    return ['invalid_request', 'Request objects are not understood here'];
  if (!client.grants.includes('authorization_code'))
    return ['unauthorized_client', 'The client may not use authorization codes'];
  const challenge = query.get('code_challenge');
  const method = query.get('code_challenge_method');
  if (challenge !== null && method !== 'S256')
    return ['invalid_request', 'The only code_challenge_method here is S256'];
  if (challenge === null && method !== null) return ['invalid_request', 'code_challenge is missing'];
  if (challenge !== null && !/^[A-Za-z0-9_-]{43}$/.test(challenge))
    return ['invalid_request', 'code_challenge must be 43 characters of base64url'];
  const prompt = words(query.get('prompt'));
  const unknown = prompt.find((word) => !PROMPTS.includes(word));
  if (unknown !== undefined) return ['invalid_request', `prompt ${unknown.slice(0, 60)} is not known`];
  if (prompt.includes('none') && prompt.length > 1) return ['invalid_request', 'prompt none goes with no other'];
  return undefined;
}

/** Of several the first would count for one program and the last for another. */
function single(query: URLSearchParams, name: string): string | undefined {
  const all = query.getAll(name);
  if (all.length > 1) throw new UaaError('invalid_request', `${name} is given ${all.length} times`);
  return all[0];
}

function words(text: string | null): string[] {
  return (text ?? '').split(/\s+/).filter(Boolean);
}

const LOOPBACK = new Set(['127.0.0.1', '[::1]', 'localhost']);

/** The same, character for character; on the loopback with any port, as native programs take a free one (RFC 8252 section 7.3). */
export function sameRedirect(known: string, asked: string): boolean {
  if (known === asked) return true;
  if (!URL.canParse(known) || !URL.canParse(asked)) return false;
  const [left, right] = [new URL(known), new URL(asked)];
  if (left.protocol !== 'http:' || !LOOPBACK.has(left.hostname)) return false;
  left.port = '';
  right.port = '';
  return left.href === right.href && !/[^\x21-\x7e]/.test(asked);
}

/** The redirect URI with more in its query. */
export function redirectWith(uri: string, parameters: Record<string, string | undefined>): string {
  const entries = Object.entries(parameters).filter((entry): entry is [string, string] => entry[1] !== undefined);
  const text = new URLSearchParams(entries).toString();
  return `${uri}${uri.includes('?') ? '&' : '?'}${text}`;
}

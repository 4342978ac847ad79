/** The grants of `/oauth/token` (RFC 6749 sections 4.1.3, 4.3, 4.4 and 6). */
import { randomUUID } from 'node:crypto';
import type { Client } from '#cluster/client/client.ts';
import { type AuthorizationCodes, CodeReplayed, type Redeemed } from './browser/codes.ts';
import type { Passcodes } from './browser/passcodes.ts';
import type { Authenticated, ClientFacts, Clients } from './clients.ts';
import { Lockout } from './lockout.ts';
import { hashPassword, verifyPassword } from './passwords.ts';
import { type DirectoryLogin, logInByDirectory } from './providers/ldap/login.ts';
import type { OidcObject, OidcProviders } from './providers/oidc.ts';
import { findProvider } from './providers/providers.ts';
import type { Revocations } from './revocations.ts';
import { REFRESH_SECONDS, type TokenSubject, type Tokens } from './tokens.ts';
import { UaaError } from './uaa.ts';
import { type Account, findAccount, OWN_ORIGIN, userGuid } from './users.ts';

export interface TokenResponse {
  access_token: string;
  token_type: 'bearer';
  refresh_token?: string;
  id_token?: string;
  expires_in: number;
  scope: string;
  jti: string;
}

const GRANTS = ['password', 'refresh_token', 'client_credentials', 'authorization_code'];

interface GrantsOptions {
  client: Client;
  tokens: Tokens;
  clients: Clients;
  passcodes: Passcodes;
  codes: AuthorizationCodes;
  revoked: Revocations;
  oidc: OidcProviders;
  now?: () => number;
  log?: DirectoryLogin['log'];
}

export class Grants {
  readonly #client: Client;
  readonly #log: DirectoryLogin['log'];
  readonly #tokens: Tokens;
  readonly #clients: Clients;
  readonly #lockout: Lockout;
  readonly #passcodes: Passcodes;
  readonly #codes: AuthorizationCodes;
  readonly #revoked: Revocations;
  readonly #oidc: OidcProviders;
  #decoy: Promise<string> | undefined;

  constructor(options: GrantsOptions) {
    this.#client = options.client;
    this.#log = options.log;
    this.#tokens = options.tokens;
    this.#clients = options.clients;
    this.#lockout = new Lockout(options.now);
    this.#passcodes = options.passcodes;
    this.#codes = options.codes;
    this.#revoked = options.revoked;
    this.#oidc = options.oidc;
  }

  /** The client of a Basic header, or of `client_id` and `client_secret` in the form. */
  authenticate(authorization: string | undefined, form: URLSearchParams): Promise<Authenticated> {
    let id = form.get('client_id') ?? '';
    let secret = form.get('client_secret') ?? '';
    const basic = /^basic\s+([A-Za-z0-9+/=]+)$/i.exec(authorization ?? '');
    if (basic) {
      const decoded = Buffer.from(basic[1] ?? '', 'base64').toString();
      const colon = decoded.indexOf(':');
      id = safeDecode(colon < 0 ? decoded : decoded.slice(0, colon));
      secret = colon < 0 ? '' : safeDecode(decoded.slice(colon + 1));
    }
    return this.#clients.authenticate(id, secret);
  }

  async token(client: Authenticated, form: URLSearchParams): Promise<TokenResponse> {
    const grant = form.get('grant_type') ?? '';
    if (grant === '') throw new UaaError('invalid_request', 'Missing grant type');
    if (!GRANTS.includes(grant)) {
      throw new UaaError('unsupported_grant_type', `Unsupported grant type: ${JSON.stringify(grant.slice(0, 60))}`);
    }
    if (!client.grants.includes(grant)) {
      throw new UaaError('unauthorized_client', `Unauthorized grant type: ${grant}`);
    }
    if (grant === 'password') return this.#password(client, form);
    if (grant === 'refresh_token') return this.#refresh(client, form);
    if (grant === 'authorization_code') return this.#code(client, form);
    const scopes = narrowed(client.authorities, form.get('scope'));
    const { token, jti, seconds } = await this.#tokens.access(
      { userId: '', userName: '', origin: OWN_ORIGIN, clientId: client.id, grantType: grant, scopes, epoch: 0 },
      client.accessSeconds,
    );
    return { access_token: token, token_type: 'bearer', expires_in: seconds, scope: scopes.join(' '), jti };
  }

  async #password(client: ClientFacts, form: URLSearchParams): Promise<TokenResponse> {
    const passcode = form.get('passcode');
    const account =
      passcode === null
        ? await this.user(form.get('username') ?? '', form.get('password') ?? '', originOf(form))
        : await this.#ofPasscode(passcode);
    return this.#issue(
      account,
      client,
      'password',
      narrowed(this.allowed(account, client), form.get('scope')),
      randomUUID(),
    );
  }

  /**
   * Of our own, else of a directory, else of an OpenID provider that was named. Rejects with `unauthorized` for a wrong password as for a user that is not
   * there.
   * @param origin  whose user it must be
   */
  async user(username: string, password: string, origin?: string): Promise<Account> {
    if (username === '' || username.length > 255) throw new UaaError('unauthorized', 'Bad credentials');
    if (this.#lockout.remaining(username) > 0) {
      throw new UaaError(
        'unauthorized',
        // cf knows this sentence.
        'Your account has been locked because of too many failed attempts to login.',
      );
    }
    const own = origin === undefined || origin === OWN_ORIGIN ? await this.#own(username, password) : undefined;
    const account = own ?? (origin === OWN_ORIGIN ? undefined : await this.#ofProvider(username, password, origin));
    if (!account) {
      this.#lockout.failed(username);
      throw new UaaError('unauthorized', 'Bad credentials');
    }
    this.#lockout.succeeded(username);
    return account;
  }

  /** Forgets who has guessed at a name. */
  unlock(username: string): void {
    this.#lockout.succeeded(username);
  }

  /** After the same time, whether there is such a user or not. */
  async #own(username: string, password: string): Promise<Account | undefined> {
    const account = await findAccount(this.#client, userGuid(username));
    this.#decoy ??= hashPassword(randomUUID());
    const right = await verifyPassword(password, account?.passwordHash || (await this.#decoy));
    return right ? account : undefined;
  }

  async #ofProvider(username: string, password: string, origin: string | undefined): Promise<Account | undefined> {
    const said = { username, password };
    const provider = origin === undefined ? undefined : await this.#named(origin);
    const guid =
      provider === undefined
        ? await logInByDirectory({ client: this.#client, log: this.#log }, said, origin)
        : await this.#oidc.logIn(provider, said);
    return guid === undefined ? undefined : await this.account(guid);
  }

  /** Undefined: it is a directory. */
  async #named(origin: string): Promise<OidcObject | undefined> {
    const found = await findProvider(this.#client, origin);
    const { spec } = found ?? {};
    if (spec?.active && spec.type === 'ldap') return undefined;
    if (found && spec?.active && spec.type !== 'ldap' && spec.passwordGrant) return { ...found, spec };
    throw new UaaError(
      'unauthorized',
      // cf knows this sentence.
      'The origin provided in the login_hint does not match an active Identity Provider, that supports password grant.',
    );
  }

  /** What the user has and the client may be given. */
  allowed(account: Account, client: ClientFacts): string[] {
    return account.scopes.filter((scope) => client.scopes?.includes(scope) ?? true);
  }

  /** Undefined where it is not active any more. */
  account(guid: string): Promise<Account | undefined> {
    return findAccount(this.#client, guid);
  }

  async #ofPasscode(passcode: string): Promise<Account> {
    const guid = await this.#passcodes.redeem(passcode);
    const account = guid === undefined ? undefined : await this.account(guid);
    if (!account) throw new UaaError('unauthorized', 'Invalid passcode');
    return account;
  }

  async #code(client: Authenticated, form: URLSearchParams): Promise<TokenResponse> {
    const granted = await this.#redeem(client, form);
    const account = await this.account(granted.userId);
    if (!account) throw new UaaError('invalid_grant', 'Invalid authorization code: its user is not active any more');
    // What was taken from the user since is not given.
    const scopes = this.allowed(account, client).filter((scope) => granted.scopes.includes(scope));
    const id = randomUUID();
    const response = await this.#issue(account, client, 'authorization_code', scopes, id);
    granted.issued([response.jti, `${id.replaceAll('-', '')}-r`]);
    if (!scopes.includes('openid')) return response;
    const { nonce } = granted.authorization;
    const facts = { clientId: client.id, authTime: granted.authTime, ...(nonce === undefined ? {} : { nonce }) };
    return { ...response, id_token: await this.#tokens.identity(account, facts, response.access_token) };
  }

  async #redeem(client: Authenticated, form: URLSearchParams): Promise<Redeemed> {
    try {
      return this.#codes.redeem(form.get('code') ?? '', {
        clientId: client.id,
        proven: client.proven,
        redirectUri: form.get('redirect_uri') ?? undefined,
        verifier: form.get('code_verifier') ?? undefined,
      });
    } catch (error) {
      if (error instanceof CodeReplayed) {
        const until = Date.now() / 1000 + REFRESH_SECONDS;
        for (const token of error.tokens) await this.#revoked.revokeToken(token, until);
      }
      throw error;
    }
  }

  async #refresh(client: ClientFacts, form: URLSearchParams): Promise<TokenResponse> {
    const token = form.get('refresh_token') ?? '';
    if (token === '') throw new UaaError('invalid_request', 'Missing refresh token');
    const claims = await this.#tokens.verifyRefresh(token);
    const account = await findAccount(this.#client, claims.userId);
    if (!account || claims.clientId !== client.id || claims.epoch !== account.epoch) {
      throw new UaaError('invalid_token', 'The refresh token was revoked. Log in again.');
    }
    const kept = this.allowed(account, client).filter((scope) => claims.scopes.includes(scope));
    return this.#issue(account, client, claims.grantType, narrowed(kept, form.get('scope')), randomUUID());
  }

  async #issue(
    account: Account,
    client: ClientFacts,
    grantType: string,
    scopes: string[],
    id: string,
  ): Promise<TokenResponse> {
    const subject: TokenSubject = {
      userId: account.guid,
      userName: account.username,
      origin: account.origin,
      clientId: client.id,
      grantType,
      scopes,
      epoch: account.epoch,
    };
    const [access, refresh] = await Promise.all([
      this.#tokens.access(subject, client.accessSeconds),
      client.grants.includes('refresh_token')
        ? this.#tokens.refresh(subject, id.replaceAll('-', ''), client.refreshSeconds)
        : undefined,
    ]);
    return {
      access_token: access.token,
      token_type: 'bearer',
      ...(refresh === undefined ? {} : { refresh_token: refresh }),
      expires_in: access.seconds,
      scope: scopes.join(' '),
      jti: access.jti,
    };
  }
}

function narrowed(scopes: string[], requested: string | null): string[] {
  const wanted = (requested ?? '').split(/[\s,]+/).filter(Boolean);
  if (wanted.length === 0) return scopes;
  const granted = scopes.filter((scope) => wanted.includes(scope));
  if (granted.length === 0) {
    throw new UaaError('invalid_scope', `None of the requested scopes is allowed: ${JSON.stringify(wanted.join(' '))}`);
  }
  return granted;
}

/** As `cf login --origin` says it. */
function originOf(form: URLSearchParams): string | undefined {
  const hint = form.get('login_hint');
  if (hint === null) return undefined;
  try {
    const { origin } = JSON.parse(safeDecode(hint)) as { origin?: unknown };
    if (typeof origin === 'string') return origin;
  } catch {
    // Told below, as what says no origin is.
  }
  throw new UaaError('invalid_request', 'login_hint must be a JSON object with an origin');
}

function safeDecode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // not encoded at all: older clients send the plain value
  }
}

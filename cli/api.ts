/** The Cloud Foundry API as the commands use it: JSON, tokens, pages, jobs, and errors that say what the platform said. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Readable } from 'node:stream';
import { ApiError, CliError, UnreachableError } from './errors.ts';
import { type Answer, type Call, Http, readText } from './http.ts';
import { type SessionEntry, readSession, writeSession } from './session.ts';
import type { Target } from './target.ts';
import type { Page, Root, Resource } from './resources.ts';

/** The OAuth client that people's command lines use; it has no secret. */
const clientAuthorization = `Basic ${Buffer.from('cf:').toString('base64')}`;

/** What the proxy says of a platform that is not there. */
const AWAY = new Set([502, 503, 504]);
const AWAY_MILLISECONDS = 60_000;
const AWAY_PERIOD = 250;
/** So long our platform may hold an answer back until there is something to say. */
const SETTLED_SECONDS = 10;

export class Api {
  readonly target: Target;
  readonly #http: Http;
  #session: SessionEntry;
  #root: Promise<Root> | undefined;

  constructor(target: Target) {
    this.target = target;
    this.#http = new Http(target);
    this.#session = readSession(target.api);
  }

  get session(): SessionEntry {
    return this.#session;
  }

  /** The API's root document: where its other parts are. */
  root(): Promise<Root> {
    this.#root ??= this.#http.send(`${this.target.api}/`).then((answer) => parse<Root>(answer, `${this.target.api}/`));
    return this.#root;
  }

  /** Good for a while yet; made anew where it is not. */
  async accessToken(): Promise<string> {
    if (!this.#session.accessToken || expiresSoon(this.#session.accessToken)) await this.#renew();
    return this.#session.accessToken ?? '';
  }

  get<T>(path: string, signal?: AbortSignal): Promise<T> {
    return this.json<T>('GET', path, undefined, signal);
  }

  /**
   * Held back by our platform until what is asked for is settled, `seconds` at most; any other answers at once. Who waits
   * for what the platform does goes on waiting while it starts again.
   */
  async getSettled<T>(path: string, seconds: number): Promise<T> {
    const patience = Date.now() + AWAY_MILLISECONDS;
    for (;;) {
      try {
        return await this.json<T>('GET', path, undefined, undefined, { prefer: `wait=${seconds}` });
      } catch (error) {
        const isAway = error instanceof UnreachableError || (error instanceof ApiError && AWAY.has(error.status));
        if (!isAway || Date.now() > patience) throw error;
        await delay(AWAY_PERIOD);
      }
    }
  }

  post<T>(path: string, body: unknown = {}): Promise<T> {
    return this.json<T>('POST', path, body);
  }

  patch<T>(path: string, body: unknown): Promise<T> {
    return this.json<T>('PATCH', path, body);
  }

  /** Deletes, and waits for the job where there is one. */
  async delete(path: string): Promise<void> {
    const answer = await this.#authorized(this.target.api + path, { method: 'DELETE' });
    await this.#finish(answer, path);
  }

  /**
   * Sends what a broker may take part in. False: the broker is at it, and `wait` was not said; else it is done.
   */
  async submit(method: string, path: string, body: unknown, options: { wait?: boolean }): Promise<boolean> {
    const answer = await this.#authorized(this.target.api + path, {
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
    });
    const text = await readText(answer.body);
    if (answer.status >= 400) throw errorFrom(answer.status, text, path);
    const job = answer.headers.location;
    return answer.status !== 202 || !job || (await this.#job(job, { whole: options.wait ?? false }));
  }

  /** Sends a body that is not JSON, and waits for the job where there is one. */
  async postRaw(
    path: string,
    contentType: string,
    body: string | Readable,
    headers: Record<string, string> = {},
  ): Promise<string> {
    const answer = await this.#authorized(this.target.api + path, {
      method: 'POST',
      body,
      headers: { 'content-type': contentType, ...headers },
    });
    return this.#finish(answer, path);
  }

  /** Every resource of a list, page after page. */
  async all<T extends Resource>(path: string): Promise<T[]> {
    const found: T[] = [];
    let next: string | undefined = `${path}${path.includes('?') ? '&' : '?'}per_page=500`;
    while (next) {
      const page: Page<T> = await this.get<Page<T>>(next);
      found.push(...page.resources);
      const href: string | undefined = page.pagination.next?.href;
      next = href ? href.slice(new URL(href).origin.length) : undefined;
    }
    return found;
  }

  /** An open response, for streams. */
  async stream(url: string, signal: AbortSignal): Promise<Readable> {
    const answer = await this.#authorized(url, { signal });
    if (answer.status !== 200) throw await errorOf(answer, url);
    return answer.body;
  }

  async json<T>(
    method: string,
    path: string,
    body?: unknown,
    signal?: AbortSignal,
    headers: Record<string, string> = {},
  ): Promise<T> {
    const url = path.startsWith('https:') ? path : this.target.api + path;
    const answer = await this.#authorized(url, {
      method,
      headers,
      ...(body === undefined
        ? {}
        : { body: JSON.stringify(body), headers: { ...headers, 'content-type': 'application/json' } }),
      ...(signal ? { signal } : {}),
    });
    return parse<T>(answer, url);
  }

  async login(username: string, password: string): Promise<void> {
    await this.#token({ grant_type: 'password', username, password }, username);
  }

  remember(entry: Partial<SessionEntry>, options: { current?: boolean } = {}): void {
    this.#session = { ...this.#session, ...entry };
    writeSession(this.target.api, this.#session, options);
  }

  /** By which another program of the platform, a client of UAA, knows who asks; good once, for minutes. */
  async oneTimeCode(client: string): Promise<string> {
    const root = await this.root();
    const url = `${root.links.uaa.href}/oauth/authorize?client_id=${encodeURIComponent(client)}&response_type=code`;
    const answer = await this.#authorized(url, {});
    const text = await readText(answer.body);
    const { location } = answer.headers;
    const code = location === undefined ? undefined : new URL(location, url).searchParams.get('code');
    if (!code) throw errorFrom(answer.status, text, url);
    return code;
  }

  close(): void {
    this.#http.close();
  }

  async #finish(answer: Answer, path: string): Promise<string> {
    const text = await readText(answer.body);
    if (answer.status >= 400) throw errorFrom(answer.status, text, path);
    const job = answer.headers.location;
    if (answer.status === 202 && job?.includes('/v3/jobs/')) await this.#job(job);
    return text;
  }

  /** True when it is done; false when a broker is at it and that is enough. */
  async #job(url: string, { whole }: { whole: boolean } = { whole: true }): Promise<boolean> {
    for (let wait = 20; ; wait = Math.min(wait * 2, 1000)) {
      const job = await this.json<{ state: string; errors?: { detail: string; title: string; code: number }[] }>(
        'GET',
        url,
        undefined,
        undefined,
        { prefer: `wait=${SETTLED_SECONDS}` },
      );
      if (job.state === 'COMPLETE') return true;
      if (job.state === 'POLLING' && !whole) return false;
      if (job.state === 'FAILED')
        throw new ApiError(
          422,
          job.errors?.[0]?.title ?? 'CF-Error',
          job.errors?.map((error) => error.detail).join('; ') ?? 'The job failed',
        );
      await delay(wait);
    }
  }

  async #authorized(url: string, call: Call): Promise<Answer> {
    const token = await this.accessToken();
    return this.#http.send(url, {
      ...call,
      headers: { ...call.headers, authorization: `Bearer ${token}` },
    });
  }

  async #renew(): Promise<void> {
    const { refreshToken } = this.#session;
    if (refreshToken) {
      try {
        return await this.#token({ grant_type: 'refresh_token', refresh_token: refreshToken }, this.#session.username);
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
      }
    }
    const login = this.target.login?.();
    if (!login) throw new CliError(`You are not logged in to ${this.target.api}.`, 'Log in with `sampan login`.');
    await this.login(login.username, login.password);
  }

  async #token(form: Record<string, string>, username: string | undefined): Promise<void> {
    const root = await this.root();
    const url = `${root.links.login?.href ?? root.links.uaa.href}/oauth/token`;
    const answer = await this.#http.send(url, {
      method: 'POST',
      body: new URLSearchParams(form).toString(),
      headers: { 'content-type': 'application/x-www-form-urlencoded', authorization: clientAuthorization },
    });
    const token = await parse<{ access_token: string; refresh_token?: string }>(answer, url);
    this.remember({
      accessToken: token.access_token,
      ...(token.refresh_token ? { refreshToken: token.refresh_token } : {}),
      ...(username ? { username } : {}),
    });
  }
}

async function parse<T>(answer: Answer, url: string): Promise<T> {
  const text = await readText(answer.body);
  if (answer.status >= 400) throw errorFrom(answer.status, text, url);
  if (!text) return undefined as T;
  try {
    return JSON.parse(text) as T;
  } catch (error) {
    throw new CliError(
      `${new URL(url).host} answered something that is not JSON: ${JSON.stringify(text.slice(0, 120))}.`,
      'Is this the address of a Sampan API?',
      { cause: error },
    );
  }
}

async function errorOf(answer: Answer, url: string): Promise<Error> {
  return errorFrom(answer.status, await readText(answer.body), url);
}

function errorFrom(status: number, text: string, url: string): ApiError {
  try {
    const body = JSON.parse(text) as {
      errors?: { title: string; detail: string }[];
      error?: string;
      error_description?: string;
    };
    if (body.errors?.[0])
      return new ApiError(status, body.errors[0].title, body.errors.map((error) => error.detail).join('; '));
    if (body.error) return new ApiError(status, body.error, body.error_description ?? body.error);
  } catch {
    // not JSON: the text is quoted below
  }
  return new ApiError(status, 'unknown', `${url} answered ${status}: ${text.trim().slice(0, 200) || 'nothing'}`);
}

function expiresSoon(token: string): boolean {
  try {
    const { exp } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as { exp: number };
    return exp * 1000 < Date.now() + 15_000;
  } catch {
    return true; // it is no token that we can read: get another
  }
}

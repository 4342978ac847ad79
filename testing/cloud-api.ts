/** Cloud Foundry's API of a test platform, as its administrator, for what has no command. */
import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { type TestPlatform, until } from './platform.ts';

interface Answer<T> {
  status: number;
  headers: Record<string, unknown>;
  body: T;
}

export class CloudApi {
  readonly #platform: TestPlatform;
  #token = '';

  constructor(platform: TestPlatform) {
    this.#platform = platform;
  }

  /** Resolves with what came, whatever its status. */
  #ask(host: string, path: string, options: { method?: string; body?: string; headers: Record<string, string> }) {
    const { domain, ports } = this.#platform.instance;
    const { method = 'GET', body, headers } = options;
    const servername = `${host}.${domain}`;
    return new Promise<Answer<string>>((done, fail) => {
      const call = request(
        {
          host: '127.0.0.1',
          port: ports.https,
          path,
          method,
          servername,
          rejectUnauthorized: false,
          agent: false,
          headers: { host: servername, ...headers },
        },
        (response) => {
          text(response).then(
            (all) => done({ status: response.statusCode ?? 0, headers: response.headers, body: all }),
            fail,
          );
        },
      );
      call.once('error', fail);
      call.end(body);
    });
  }

  async login(): Promise<void> {
    const password = readFileSync(join(this.#platform.dataDirectory, 'admin-password'), 'utf8').trim();
    const body = new URLSearchParams({ grant_type: 'password', username: 'admin', password }).toString();
    const authorization = `Basic ${Buffer.from('cf:').toString('base64')}`;
    const headers = { 'content-type': 'application/x-www-form-urlencoded', authorization };
    const answer = await this.#ask('uaa', '/oauth/token', { method: 'POST', body, headers });
    this.#token = (JSON.parse(answer.body) as { access_token: string }).access_token;
  }

  /** An error with what came where it was refused. */
  async call<T = Record<string, unknown>>(method: string, path: string, body?: unknown): Promise<Answer<T>> {
    if (this.#token === '') await this.login();
    const answer = await this.#ask('api', path, {
      method,
      headers: {
        authorization: `bearer ${this.#token}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${answer.body}`);
    return { ...answer, body: (answer.body === '' ? {} : JSON.parse(answer.body)) as T };
  }

  async guidOf(kind: string, name: string): Promise<string> {
    const { body } = await this.call<{ resources: { guid: string }[] }>('GET', `/v3/${kind}?names=${name}`);
    const guid = body.resources[0]?.guid;
    if (guid === undefined) throw new Error(`there is none of ${kind} with the name ${name}`);
    return guid;
  }

  /** Asks for what is done by a job, and waits until it is done. */
  async job(method: string, path: string, body?: unknown, seconds = 600): Promise<void> {
    const { headers } = await this.call(method, path, body);
    const job = new URL(String(headers['location'])).pathname;
    await until(
      `${method} ${path}`,
      async () => {
        const { state, errors } = (await this.call<{ state: string; errors?: unknown }>('GET', job)).body;
        if (state === 'FAILED') throw new Error(`${method} ${path}: ${JSON.stringify(errors)}`);
        return state === 'COMPLETE';
      },
      seconds,
    );
  }
}

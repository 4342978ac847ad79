/** GET for registries of packages: three attempts where the failure may pass. */
import { AnswerTooLarge, type HttpAnswer, openHttp, readHttp } from './http.ts';

const ATTEMPTS = 3;
const LARGEST = 400 * 1024 * 1024;

export interface HttpGetOptions {
  accept?: string;
  /** PEM bundle besides Node's own. */
  ca?: string | undefined;
}

export class RegistryError extends Error {
  readonly temporary: boolean;
  constructor(message: string, temporary: boolean) {
    super(message);
    this.name = 'RegistryError';
    this.temporary = temporary;
  }
}

/** @throws RegistryError for every status but 200 */
export async function httpGet(url: string, options: HttpGetOptions = {}): Promise<Buffer> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await getOnce(url, options);
    } catch (error) {
      if (attempt === ATTEMPTS || (error instanceof RegistryError && !error.temporary)) throw error;
    }
  }
}

async function getOnce(url: string, { accept = '*/*', ca }: HttpGetOptions): Promise<Buffer> {
  const fail = (error: unknown): never => {
    throw new RegistryError(error instanceof Error ? error.message : String(error), !(error instanceof AnswerTooLarge));
  };
  const headers = { accept, 'accept-encoding': 'gzip' };
  const answer: HttpAnswer = await openHttp(url, { headers, ca }).catch(fail);
  const body = await readHttp(answer, LARGEST).catch(fail);
  const { status, message } = answer;
  if (status !== 200) throw new RegistryError(`GET ${url}: ${status}`, status >= 500 || status === 429);
  if (message.headers['content-encoding'] !== 'gzip') return body;
  const { gunzipSync } = await import('node:zlib');
  return gunzipSync(body);
}

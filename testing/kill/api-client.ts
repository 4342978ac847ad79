/**
 * A client of the Docker API that knows whether it was answered: what was acknowledged must stand after a crash, what was
 * refused must not be, and where the connection broke either may be.
 */
import { request } from 'node:http';

export interface Answer {
  status: number;
  text: string;
}

/**
 * @param body  bytes go as an archive, anything else as JSON
 * @returns undefined where the connection broke before the whole answer was here
 */
export async function ask(
  socketPath: string,
  method: string,
  path: string,
  body?: unknown,
): Promise<Answer | undefined> {
  const { promise, resolve } = Promise.withResolvers<Answer | undefined>();
  const isArchive = body instanceof Uint8Array;
  const sent = isArchive ? body : Buffer.from(body === undefined ? '' : JSON.stringify(body));
  const type = isArchive ? 'application/x-tar' : 'application/json';
  const headers = { 'content-type': type, 'content-length': sent.byteLength };
  const options = { socketPath, method, path: `/v1.45${path}`, headers, agent: false };
  const call = request(options, (response) => {
    let received = '';
    response.setEncoding('utf8');
    response.on('data', (chunk: string) => {
      received += chunk;
    });
    response.on('end', () =>
      resolve(response.complete ? { status: response.statusCode ?? 0, text: received } : undefined),
    );
    response.on('error', () => resolve(undefined));
    response.on('close', () => resolve(undefined));
  });
  call.on('error', () => resolve(undefined));
  call.end(sent);
  return await promise;
}

import { request } from 'node:https';
import { readCa, readPair } from './certificates.ts';
import type { Instance } from './instance.ts';

/** What the API server of this instance answers the administrator. Undefined where there is no answer: that is what host commands tell. */
export async function askCluster<T>(instance: Instance, path: string): Promise<T | undefined> {
  const { certificate, key } = readPair(instance, 'admin');
  const body = await new Promise<string | undefined>((answer) => {
    const call = request(
      {
        host: '127.0.0.1',
        port: instance.ports.kubernetes,
        path,
        ca: readCa(instance),
        cert: certificate,
        key,
        timeout: 3000,
        agent: false,
      },
      (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (part: string) => (text += part));
        response.once('end', () => answer(response.statusCode === 200 ? text : undefined));
      },
    );
    call.once('timeout', () => call.destroy());
    call.once('error', () => answer(undefined));
    call.end();
  });
  return body === undefined ? undefined : (JSON.parse(body) as T);
}

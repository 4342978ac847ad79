/** Waits until the cluster has come to what is wanted of it, no more and no less: as the API shows it, and as Services answer. */
import { request } from 'node:http';
import type { Client } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import { pods, services } from '#cluster/kinds/resources.ts';
import type { Pod } from '#cluster/kinds/types/core.ts';
import { until } from '../platform.ts';
import { differences } from './compare.ts';
import { type Desired, SERVICE_PORT } from './desired.ts';
import { namespace } from './writer.ts';

/** A container that was killed again and again waits five minutes for its next start; a pod whose end was not heard of, for its grace. */
const SETTLES_WITHIN = 480;

/** Resolves with the pods, all of which are as they should be. Rejects with what is not. */
export async function settled(client: Client, desired: Desired): Promise<Stored<Pod>[]> {
  let found: string[] = [];
  const look = async (): Promise<boolean> => {
    found = await differences(client, desired).catch((error: unknown) => [String(error)]);
    return found.length === 0;
  };
  await until('the cluster to be as it should be', look, SETTLES_WITHIN).catch((error: unknown) => {
    throw new Error(`the cluster did not come to what is wanted:\n${found.join('\n')}`, { cause: error });
  });
  return (await client.list(pods, { namespace })).items;
}

/** Every Service answers, by each of its pods and nobody else; one without pods refuses. */
export async function servicesAnswer(client: Client, desired: Desired, known: readonly Stored<Pod>[]): Promise<void> {
  for (const { metadata, spec } of (await client.list(services, { namespace })).items) {
    const app = desired.services.get(metadata.name);
    if (app === undefined) continue;
    const address = spec?.clusterIP ?? '';
    const own = known.filter(({ metadata: { labels } }) => labels?.['app'] === app).map((pod) => pod.metadata.name);
    const wanted = new Set(own.length === 0 ? ['ECONNREFUSED'] : own);
    const heard = new Set<string>();
    const look = async (): Promise<boolean> => {
      heard.add(await ask(address));
      return [...wanted].every((one) => heard.has(one));
    };
    await until(`service ${metadata.name} to answer by ${[...wanted].join()}`, look, 120).catch((error: unknown) => {
      throw new Error(`heard was ${[...heard].join()}`, { cause: error });
    });
    // The rules follow the endpoints that are told of: once they are right they stay so.
    for (let round = 0; round < 20; round += 1) {
      const said = await ask(address);
      if (!wanted.has(said)) throw new Error(`service ${metadata.name}: ${said} answers, not ${[...wanted].join()}`);
    }
  }
}

/** The name of the pod that answers, or the code of the error. */
function ask(host: string): Promise<string> {
  return new Promise((resolve) => {
    const failed = (error: NodeJS.ErrnoException): void => resolve(error.code ?? error.message);
    const call = request({ host, port: SERVICE_PORT, path: '/name', agent: false, timeout: 10_000 }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => (text += part));
      response.once('end', () => resolve(response.statusCode === 200 ? text.trim() : `HTTP ${response.statusCode}`));
      response.once('error', failed);
    });
    call.once('timeout', () => call.destroy(new Error('no answer')));
    call.once('error', failed);
    call.end();
  });
}

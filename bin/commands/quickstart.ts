import { request } from 'node:http';
import { join } from 'node:path';
import { Api } from '#cli/api.ts';
import { findApp, inSpace } from '#cli/context.ts';
import { print } from '#cli/output.ts';
import { Progress } from '#lib/progress.ts';
import { push } from '#cli/push/push.ts';
import { readApp } from '#cli/commands/apps.ts';
import { createHash } from 'node:crypto';
import { listFiles, sha1 } from '#cli/push/files.ts';
import { caFile } from '../certificates.ts';
import { HostError } from '../host-error.ts';
import type { Instance, InstanceFlags } from '../instance.ts';
import { localTarget } from '../local-target.ts';
import { endpoints } from '../endpoints.ts';
import { bringUp } from './up.ts';

const example = join(import.meta.dirname, '..', '..', 'examples', 'hello-node');
const appName = 'hello';
/** The example's source by digest, kept with the app: the same source is not pushed again. */
const sourceLabel = 'quickstart-source';

/** From nothing to a running app: boots, pushes the example where it is not there yet, and shows what to do next. */
export async function quickstart(flags: InstanceFlags): Promise<void> {
  const progress = new Progress();
  const instance = await bringUp(flags, progress);
  const target = localTarget(flags);
  await inSpace(target, async (context) => {
    const source = await sourceDigest();
    const there = await findApp(context, appName);
    if (!there || !(await runsAlready(context.api, there.guid, source))) {
      const [app] = await push(context, appName, { path: example, manifest: join(example, 'manifest.yml') });
      if (app) await context.api.patch(`/v3/apps/${app.guid}`, { metadata: { labels: { [sourceLabel]: source } } });
    }
    const app = await findApp(context, appName);
    if (!app) throw new HostError('not-ready', 'The example was pushed and is not there.', 'Run the command again.');
    const view = await readApp(context.api, app);
    const host = new URL(view.routes[0] ?? '').hostname;
    const answer = await progress.step('waiting for the first answer', () => firstAnswer(instance, host));
    print(summary(instance, { host, answer, image: view.image ?? '' }));
  });
}

async function sourceDigest(): Promise<string> {
  const hash = createHash('sha256');
  for (const file of listFiles(example)) hash.update(`${file.path} ${await sha1(file)}\n`);
  return hash.digest('hex').slice(0, 40);
}

async function runsAlready(api: Api, guid: string, source: string): Promise<boolean> {
  const app = await api.get<{ state: string; metadata: { labels: Record<string, string | null> } }>(`/v3/apps/${guid}`);
  return app.state === 'STARTED' && app.metadata.labels[sourceLabel] === source;
}

/** Asks through the router, as a browser would; a 404 or 503 of the first moment is asked again. */
async function firstAnswer(instance: Instance, host: string): Promise<string> {
  const until = Date.now() + 60_000;
  for (let wait = 25; ; wait = Math.min(wait * 2, 500)) {
    const answer = await ask(instance, host);
    if (answer.status === 200) return answer.body;
    if (Date.now() > until)
      throw new HostError(
        'not-ready',
        `http://${host} answers ${answer.status}: ${answer.body.trim().slice(0, 200)}.`,
        `Look at \`sampan logs ${appName} --recent\`.`,
      );
    await new Promise((done) => setTimeout(done, wait));
  }
}

function ask(instance: Instance, host: string): Promise<{ status: number; body: string }> {
  return new Promise((done) => {
    const call = request(
      { host: '127.0.0.1', port: instance.ports.http, path: '/', headers: { host }, timeout: 5000 },
      (response) => {
        let body = '';
        response.setEncoding('utf8').on('data', (part: string) => (body += part));
        response.once('end', () => done({ status: response.statusCode ?? 0, body }));
      },
    );
    call.once('timeout', () => call.destroy());
    call.once('error', (error) => done({ status: 0, body: error.message }));
    call.end();
  });
}

function summary(instance: Instance, { host, answer, image }: { host: string; answer: string; image: string }): string {
  const { api, registry, docker } = endpoints(instance);
  const { ports, dataDirectory } = instance;
  const flag = instance.name === 'sampan' ? '' : ` --name ${instance.name}`;
  const port = ports.http === 80 ? '' : `:${ports.http}`;
  return `
${appName} is running.

  URL        http://${host}${port}
  answers    ${answer.trim().split('\n')[0]}
  try        curl --resolve ${host}:${ports.http}:127.0.0.1 http://${host}${port}/

One platform, three clients:

  kubectl    kubectl --kubeconfig ${dataDirectory}/kubeconfig get pods -A
  docker     docker -H ${docker} ps
  skopeo     SSL_CERT_FILE=${caFile(instance)} skopeo inspect --creds "admin:$(cat ${dataDirectory}/admin-password)" docker://${image}
  registry   ${registry} (user admin)
  API        ${api} (user admin, password in ${dataDirectory}/admin-password)
             cf login -a ${api} -u admin -p "$(cat ${dataDirectory}/admin-password)"

Next:

  sampan${flag} scale ${appName} -i 3
  sampan${flag} logs ${appName}
  sampan${flag} push my-app -p DIRECTORY
`;
}

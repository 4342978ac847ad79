/** `push`: the same calls as cf makes, in the same order (manifest, package, upload, build, droplet, start or deploy). */
import { setTimeout as delay } from 'node:timers/promises';
import { Progress } from '#lib/progress.ts';
import type { Api } from '../api.ts';
import { type SpaceContext, findApp, requireApp } from '../context.ts';
import { CliError } from '../errors.ts';
import { followLines, formatLine, recentLines } from '../logs.ts';
import { note } from '../output.ts';
import type { App, Build, Deployment, Droplet, InstanceStats, Package, Page, Process } from '../resources.ts';
import { readSource } from './files.ts';
import { type ManifestApp, type PushFlags, manifestText, readManifest } from './manifest.ts';
import { type PreparedUpload, prepareUpload, uploadBits } from './upload.ts';

const progress = new Progress();

/**
 * Until its image is on the node and its container is made, before the time that its health check gives it: as long as cf waits. An app that does not
 * become healthy is told sooner, by the platform.
 */
const BEFORE_START_MILLISECONDS = 300_000;

export interface PushOptions extends PushFlags {
  strategy?: string;
  start?: boolean; // --no-start gives false
}

export async function push(context: SpaceContext, name: string | undefined, options: PushOptions): Promise<App[]> {
  if (options.strategy && !['rolling', 'canary', 'recreate'].includes(options.strategy)) {
    throw new CliError(
      `Cannot use ${JSON.stringify(options.strategy)} as --strategy.`,
      'Use rolling, canary or recreate.',
    );
  }
  const { apps } = await readManifest(name, options, process.cwd());
  const pushed: App[] = [];
  for (const app of apps) pushed.push(await pushApp(context, app, options));
  return pushed;
}

async function pushApp(context: SpaceContext, manifest: ManifestApp, options: PushOptions): Promise<App> {
  const { api, space } = context;
  // Before the platform is told of an app that there is nothing of.
  const source = manifest.docker ? undefined : readSource(manifest.path ?? '.');
  // What has to be sent is found out meanwhile.
  const upload = source && prepareUpload(api, source);
  upload?.catch(() => undefined);
  const before = await findApp(context, manifest.name);
  note(`Pushing app ${manifest.name} to org ${context.organization.name} / space ${space.name}...`);
  // And sent meanwhile where the app is there already, and takes source: a manifest cannot change that.
  const early = upload && before && before.lifecycle.type !== 'docker' ? sendSource(api, before, upload) : undefined;
  early?.catch(() => undefined);
  await progress.step('Applying the manifest', () =>
    api.postRaw(`/v3/spaces/${space.guid}/actions/apply_manifest`, 'application/x-yaml', manifestText(manifest)),
  );
  const app = before ?? (await requireApp(context, manifest.name));
  const packageGuid = upload
    ? await progress.step('Uploading', async (say) => {
        const { files, sentFiles, sentBytes } = (await upload).summary;
        say(`${sentFiles} of ${files} files, ${Math.ceil(sentBytes / 1024)} KiB; the platform has the others`);
        return await (early ?? sendSource(api, app, upload));
      })
    : await createImagePackage(api, app, manifest.docker);
  const { droplet, shown } = await build(api, app, packageGuid);
  try {
    await release(api, app, droplet, before?.state === 'STARTED', options);
  } finally {
    await shown;
  }
  return requireApp(context, manifest.name);
}

async function createImagePackage(api: Api, app: App, docker: ManifestApp['docker']): Promise<string> {
  const { image, username } = docker ?? {};
  const password = process.env.CF_DOCKER_PASSWORD;
  const created = await api.post<Package>('/v3/packages', {
    type: 'docker',
    relationships: { app: { data: { guid: app.guid } } },
    data: { image, ...(username ? { username, password } : {}) },
  });
  return created.guid;
}

/** Resolves when the platform has taken it in. */
async function sendSource(api: Api, app: App, upload: Promise<PreparedUpload>): Promise<string> {
  const [{ guid }, prepared] = await Promise.all([
    api.post<Package>('/v3/packages', { type: 'bits', relationships: { app: { data: { guid: app.guid } } } }),
    upload,
  ]);
  let state = await uploadBits(api, guid, prepared);
  for (let wait = 20; state.state !== 'READY'; wait = Math.min(wait * 2, 500)) {
    if (state.state === 'FAILED' || state.state === 'EXPIRED')
      throw new CliError(`The upload was refused: ${state.data.error ?? state.state}.`);
    state = await api.getSettled<Package>(`/v3/packages/${guid}`, 10);
    if (state.state !== 'READY') await delay(wait);
  }
  return guid;
}

/** `shown` resolves when the last lines of its output, which are on their way, were printed. */
async function build(api: Api, app: App, packageGuid: string): Promise<{ droplet: string; shown: Promise<void> }> {
  const start = String(BigInt(Date.now()) * 1_000_000n);
  const created = await api.post<Build>('/v3/builds', { package: { guid: packageGuid } });
  const stop = new AbortController();
  const interrupt = (): void => {
    note('\nCancelling the build...');
    void api
      .patch(`/v3/builds/${created.guid}`, { state: 'FAILED' })
      .catch((error: Error) => note(error.message))
      .finally(() => process.exit(130));
  };
  process.once('SIGINT', interrupt);
  process.once('SIGTERM', interrupt);
  const last = Promise.withResolvers<void>();
  const output = printStaging(api, app.guid, { start, signal: stop.signal, onLast: last.resolve });
  const ended = async (): Promise<void> => {
    await Promise.race([delay(150), output, last.promise]);
    stop.abort();
    await output;
  };
  try {
    return { droplet: await progress.step('Staging', () => untilStaged(api, created.guid)), shown: ended() };
  } catch (error) {
    await ended();
    throw error;
  } finally {
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', interrupt);
  }
}

/** Returns the droplet's guid. */
async function untilStaged(api: Api, guid: string): Promise<string> {
  for (let wait = 20; ; wait = Math.min(wait * 1.5, 500)) {
    const state = await api.getSettled<Build>(`/v3/builds/${guid}`, 10);
    if (state.state === 'STAGED' && state.droplet) return state.droplet.guid;
    if (state.state === 'FAILED')
      throw new CliError(
        `Staging failed: ${state.error ?? 'no reason was given'}.`,
        'Read the build output above, mend the app and push again. What ran before runs on.',
      );
    await delay(wait);
  }
}

async function printStaging(
  api: Api,
  appGuid: string,
  options: { start: string; signal: AbortSignal; onLast: () => void },
): Promise<void> {
  const { start, signal, onLast } = options;
  try {
    for await (const line of followLines(api, appGuid, { start, signal }))
      if (line.source.startsWith('STG')) {
        note(`   ${line.text}`);
        if (/^Staging (complete|failed)/.test(line.text)) onLast();
      }
  } catch (error) {
    if (!signal.aborted) note(`   (the build output cannot be shown: ${(error as Error).message})`);
  }
}

async function release(api: Api, app: App, droplet: string, ranBefore: boolean, options: PushOptions): Promise<void> {
  if (options.start === false) {
    await api.patch(`/v3/apps/${app.guid}/relationships/current_droplet`, { data: { guid: droplet } });
    return;
  }
  if (ranBefore && options.strategy !== 'recreate')
    return deploy(api, app, { droplet: { guid: droplet } }, options.strategy ?? 'rolling');
  if (ranBefore) await api.post(`/v3/apps/${app.guid}/actions/stop`);
  await api.patch(`/v3/apps/${app.guid}/relationships/current_droplet`, { data: { guid: droplet } });
  await api.post(`/v3/apps/${app.guid}/actions/${ranBefore ? 'restart' : 'start'}`);
  await waitRunning(api, app);
}

/** A deployment, waited for: the old version serves until the new one is healthy. */
export async function deploy(api: Api, app: App, what: Record<string, unknown>, strategy: string): Promise<void> {
  const { guid } = await api.post<Deployment>('/v3/deployments', {
    ...what,
    strategy,
    relationships: { app: { data: { guid: app.guid } } },
  });
  await waitDeployed(api, app, guid);
}

/** Until it has come to its end, or waits for somebody's word. */
export async function waitDeployed(api: Api, app: App, deployment: string): Promise<void> {
  await progress.step('Deploying', async () => {
    for (let wait = 50; ; wait = Math.min(wait * 1.5, 500)) {
      const { status } = await api.getSettled<Deployment>(`/v3/deployments/${deployment}`, 10);
      if (status.value === 'FINALIZED') {
        if (status.reason === 'DEPLOYED') return;
        const why = `${status.reason}${status.details?.error ? `: ${status.details.error}` : ''}`;
        throw await failedStart(api, app, `The new version did not become healthy (${why}); the old one serves on`);
      }
      if (status.reason === 'PAUSED') return note(pausedText(app, status));
      await delay(wait);
    }
  });
}

function pausedText({ name }: App, { canary }: Deployment['status']): string {
  const { current = 1, total = 1 } = canary?.steps ?? {};
  const step = total > 1 ? ` (step ${current} of ${total})` : '';
  return `The canary runs${step}. Go on with \`sampan continue-deployment ${name}\`, or take it back with \`sampan cancel-deployment ${name}\`.`;
}

/** Waits until an instance of each process that should run does; says why when none can. */
export async function waitRunning(api: Api, app: App): Promise<void> {
  const processes = await api.all<Process>(`/v3/apps/${app.guid}/processes`);
  const wanted = processes.filter((process) => process.instances > 0);
  await progress.step('Starting', async (say) => {
    const until =
      Date.now() +
      Math.max(...wanted.map((process) => process.health_check.data.timeout ?? 60), 60) * 1000 +
      BEFORE_START_MILLISECONDS;
    for (let wait = 20; ; wait = Math.min(wait * 1.5, 500)) {
      const stats = await Promise.all(
        wanted.map((process) =>
          api.getSettled<{ resources: InstanceStats[] }>(`/v3/processes/${process.guid}/stats`, 2),
        ),
      );
      if (stats.every((list) => list.resources.some((instance) => instance.state === 'RUNNING'))) return;
      const crashed = stats.flatMap((list) => list.resources).find((instance) => instance.state === 'CRASHED');
      if (crashed)
        throw await failedStart(
          api,
          app,
          `The app crashed when it started${crashed.details ? `: ${crashed.details}` : ''}`,
        );
      if (Date.now() > until) throw await failedStart(api, app, 'The app did not become healthy in time');
      say(
        stats
          .flatMap((list) => list.resources)
          .map((instance) => `#${instance.index} ${instance.state.toLowerCase()}`)
          .join(', '),
      );
      await delay(wait);
    }
  });
}

async function failedStart(api: Api, app: App, message: string): Promise<CliError> {
  const lines = await recentLines(api, app.guid, 1000).catch(() => []);
  const own = lines.filter((line) => /^(APP|CELL)/.test(line.source)).slice(-12);
  return new CliError(
    `${message}.${own.length > 0 ? `\nIts last lines:\n${own.map(formatLine).join('\n')}` : ''}`,
    `Read more with \`sampan logs ${app.name} --recent\`; it must listen on the port in $PORT within its health timeout.`,
  );
}

export async function dropletOf(api: Api, app: App): Promise<Droplet | undefined> {
  return (await api.get<Page<Droplet>>(`/v3/apps/${app.guid}/droplets?current=true`)).resources[0];
}

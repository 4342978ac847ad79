/** Create, start, stop, restart, kill, wait, resize, remove, prune: translated to `DockerContainers` and the engine. */
import type { Container, ContainerExit, EngineEvent, Healthcheck } from '../engine.ts';
import { readBody } from './body.ts';
import { answerEmpty, answerJson, type Call, findContainer, findImage, flag, hubName, integer } from './call.ts';
import { type CreateRequest, readCreateRequest } from './create-request.ts';
import { DockerError } from './errors.ts';
import { hasLabels, parseFilters } from './filters.ts';
import { ownVolume } from './mount-request.ts';
import { settingsOf } from './settings.ts';

export async function createContainer(call: Call): Promise<void> {
  const body = await readBody(call);
  const platform = call.query.get('platform') ?? '';
  let warnings: string[] = [];
  const container = await call.docker.create((id) => {
    const { images } = call.engine;
    const healthOf = (image: string): Healthcheck | undefined =>
      (images.get(image) ?? images.get(hubName(image)))?.config.healthcheck;
    const request = readCreateRequest(body, { id, engine: call.engine, healthOf });
    ({ warnings } = request);
    const image = findImage(call, request.image);
    checkPlatform(platform, request.image, image.config);
    const mounted = new Set(request.mounts.map(({ target }) => target));
    for (const target of image.config.volumes ?? []) if (!mounted.has(target)) request.mounts.push(ownVolume(target));
    addVolumesFrom(call, request);
    // The engine looks names up as they are; what the client wrote is what it shows.
    return call.engine.images.get(request.image) === undefined ? { ...request, image: image.digest } : request;
  }, call.query.get('name') ?? '');
  answerJson(call, { Id: container.id, Warnings: warnings }, 201);
}

/** `container[:ro|rw]`: its volumes and bind mounts, where the new one has nothing of its own in their place. */
function addVolumesFrom(call: Call, { mounts, settings }: CreateRequest): void {
  for (const text of settings.volumesFrom ?? []) {
    const [name = '', mode = 'rw'] = text.split(':', 2);
    if (!['ro', 'rw', 'z', 'Z'].includes(mode)) throw new DockerError(400, `invalid mode for volumes-from: ${mode}`);
    const from = findContainer(call, name);
    const volumes = settingsOf(from)?.volumes ?? [];
    for (const mount of from.spec.mounts ?? []) {
      if (mount.kind !== 'bind' || mounts.some(({ target }) => target === mount.target)) continue;
      const { target, source } = mount;
      const readOnly = mode === 'ro' || mount.readOnly === true;
      const volume = volumes.find((one) => one.target === target);
      mounts.push(
        volume === undefined
          ? { kind: 'bind', source, target, readOnly }
          : { kind: 'volume', name: volume.name, target, readOnly },
      );
    }
  }
}

function checkPlatform(platform: string, name: string, image: { os: string; architecture: string }): void {
  if (platform === '') return;
  const [os = '', architecture = image.architecture] = platform.split('/');
  if (os === image.os && architecture === image.architecture) return;
  throw new DockerError(
    404,
    `image with reference ${name} was found but does not match the specified platform: wanted ${platform}, actual: ${image.os}/${image.architecture}`,
  );
}

export async function startContainer(call: Call): Promise<void> {
  const started = await call.docker.start(ownContainer(call));
  answerEmpty(call, started ? 204 : 304);
}

export async function stopContainer(call: Call): Promise<void> {
  const container = ownContainer(call);
  const { state } = container;
  await call.docker.stop(container, integer(call, 't'));
  answerEmpty(call, state === 'running' ? 204 : 304);
}

export async function restartContainer(call: Call): Promise<void> {
  await call.docker.restart(ownContainer(call), integer(call, 't'));
  answerEmpty(call);
}

export async function killContainer(call: Call): Promise<void> {
  await call.docker.kill(ownContainer(call), call.query.get('signal') || 'SIGKILL');
  answerEmpty(call);
}

export async function removeContainer(call: Call): Promise<void> {
  if (flag(call, 'link')) throw new DockerError(400, 'invalid parameter: link: links are not supported');
  await call.docker.remove(ownContainer(call), { force: flag(call, 'force'), volumes: flag(call, 'v') });
  answerEmpty(call);
}

export async function resizeContainer(call: Call): Promise<void> {
  const container = ownContainer(call);
  await call.engine.resizeContainer(container.id, terminalSize(call));
  answerEmpty(call, 200);
}

export function terminalSize(call: Call): { columns: number; rows: number } {
  const rows = integer(call, 'h');
  const columns = integer(call, 'w');
  if (rows === undefined || columns === undefined || rows < 0 || columns < 0)
    throw new DockerError(400, 'invalid parameter: h and w are the rows and columns of the terminal');
  return { columns, rows };
}

/** The headers come at once: the client starts the container when it knows that somebody waits. */
export async function waitContainer(call: Call): Promise<void> {
  const container = ownContainer(call);
  const condition = call.query.get('condition') || 'not-running';
  if (!['not-running', 'next-exit', 'removed'].includes(condition))
    throw new DockerError(400, `invalid condition: "${condition}"; known are not-running, next-exit, removed`);
  const gone = new AbortController();
  call.response.on('close', () => gone.abort());
  const events = call.engine.events({ signal: gone.signal });
  call.response.writeHead(200, { 'content-type': 'application/json' });
  call.response.flushHeaders();
  const exit =
    condition === 'not-running' && container.state !== 'running'
      ? (container.exit ?? { code: 0 })
      : await awaitedExit(events, container, condition);
  gone.abort();
  if (condition === 'removed') await call.docker.removed(container.id);
  call.response.end(
    `${JSON.stringify({ StatusCode: exit?.code ?? 0, ...(exit?.message === undefined ? {} : { Error: { Message: exit.message } }) })}\n`,
  );
}

async function awaitedExit(
  events: AsyncIterable<EngineEvent>,
  container: Container,
  condition: string,
): Promise<Partial<ContainerExit> | undefined> {
  let exit: Partial<ContainerExit> | undefined = container.exit;
  for await (const event of events) {
    if (event.id !== container.id) continue;
    if (event.type === 'container-exited') {
      exit = event.exit;
      // A start that failed was told to whoever started it.
      if (condition !== 'removed') return exit;
    }
    if (event.type === 'container-removed') return exit;
  }
  return exit;
}

/** Those that do not run and were made here. */
export async function pruneContainers(call: Call): Promise<void> {
  const filters = parseFilters(call.query.get('filters'), ['label', 'label!', 'until']);
  const until = filters.get('until')?.[0];
  const before = until === undefined ? Number.POSITIVE_INFINITY : momentBefore(until);
  const removed: string[] = [];
  for (const container of call.docker.own()) {
    if (container.state === 'running' || container.createdAt >= before) continue;
    if (!hasLabels(filters, container.labels)) continue;
    if (filters.get('label!')?.some((label) => hasLabels(new Map([['label', [label]]]), container.labels))) continue;
    await call.docker.remove(container, {});
    removed.push(container.id);
  }
  answerJson(call, { ContainersDeleted: removed, SpaceReclaimed: 0 });
}

/** RFC 3339, seconds since the epoch, or a duration such as `10m` before now. */
export function momentBefore(text: string): number {
  const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)];
  if (parts.length > 0 && parts.map(([whole]) => whole).join('') === text)
    return Date.now() - parts.reduce((sum, [, value, unit]) => sum + Number(value) * (units[unit ?? ''] ?? 0), 0);
  const at = /^\d+(\.\d+)?$/.test(text) ? Number(text) * 1000 : Date.parse(text);
  if (Number.isNaN(at))
    throw new DockerError(400, `${JSON.stringify(text)} is no time: give seconds, RFC 3339 or a duration such as 10m`);
  return at;
}

export function ownContainer(call: Call): Container {
  return findContainer(call, call.path['id'] ?? '');
}

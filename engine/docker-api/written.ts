/** `/containers/{id}/changes`, `/containers/{id}/export` and `/commit`: what a container wrote. */
import { pipeline } from 'node:stream/promises';
import { type Config, readConfig, writeConfig } from '../build/config.ts';
import type { Container } from '../engine.ts';
import type { FileChange, WrittenLayer } from '../written.ts';
import { assembleImage, readRunConfig, type RunConfig } from '../images/assemble.ts';
import type { NodeImages } from '../images/open.ts';
import { Fields, readBody } from './body.ts';
import { answerJson, type Call, findContainer, hubName } from './call.ts';
import { applyChanges } from './config-changes.ts';
import { commandLine } from './container-view.ts';
import { DockerError } from './errors.ts';
import { ownContainer } from './lifecycle.ts';
import { settingsOf, visibleLabels } from './settings.ts';

const KINDS: Readonly<Record<FileChange['kind'], number>> = { modified: 0, added: 1, deleted: 2 };

export async function containerChanges(call: Call): Promise<void> {
  const changes = await call.engine.changes(ownContainer(call).id);
  answerJson(
    call,
    changes.map(({ path, kind }) => ({ Path: path, Kind: KINDS[kind] })),
  );
}

export async function exportContainer(call: Call): Promise<void> {
  const { id } = ownContainer(call);
  const gone = new AbortController();
  call.response.on('close', () => gone.abort());
  const archive = call.engine.exportContainer(id, { signal: gone.signal });
  call.response.writeHead(200, { 'content-type': 'application/octet-stream' });
  try {
    await pipeline(archive, call.response);
  } catch (error) {
    if (!gone.signal.aborted) throw error;
  }
}

export async function commitContainer(call: Call): Promise<void> {
  const container = findContainer(call, call.query.get('container') ?? '');
  const body = await readBody(call);
  const images = call.engine.images as NodeImages;
  const image = images.get(container.imageDigest);
  if (image === undefined) throw new DockerError(404, `No such image: ${container.imageId}`);
  const config = containerConfig(container, await readRunConfig(images.content, image.id));
  applyBody(config, new Fields(body));
  applyChanges(config, call.query.getAll('changes'));
  const repository = call.query.get('repo') ?? '';
  const tag = call.query.get('tag') ?? '';
  const names = repository === '' ? [] : [hubName(tag === '' ? repository : `${repository}:${tag}`)];
  const gone = new AbortController();
  call.response.on('close', () => gone.abort(new DockerError(499, 'the client has gone')));
  const digest = await assembleImage(images.content, {
    base: image.digest,
    layer: await writeStill(call, container, gone.signal),
    config: writeConfig(config),
    createdBy: commandLine(container, image).join(' '),
    createdAt: new Date(),
    ...optional('comment', call.query.get('comment')),
    ...optional('author', call.query.get('author')),
  });
  const made = await images.adopt(digest, names);
  if (settingsOf(container) !== undefined)
    call.docker.happenings.about(container, 'commit', { comment: call.query.get('comment') ?? '', imageID: made.id });
  answerJson(call, { Id: made.id }, 201);
}

/** What runs is paused for as long as it is read, unless the client says otherwise. */
async function writeStill(
  call: Call,
  { id, state }: Container,
  signal: AbortSignal,
): Promise<WrittenLayer | undefined> {
  const { engine } = call;
  const pauses =
    state === 'running' && !['0', 'false'].includes(call.query.get('pause') ?? '') && !engine.container(id)?.paused;
  if (pauses) await engine.pauseContainer(id);
  try {
    return await engine.writeLayer(id, { signal });
  } finally {
    if (pauses) await engine.unpauseContainer(id);
  }
}

function optional<Name extends string>(name: Name, value: string | null): { [Key in Name]?: string } {
  return (value === null || value === '' ? {} : { [name]: value }) as { [Key in Name]?: string };
}

/** What the container was made with, over its image's own. */
function containerConfig(container: Container, image: RunConfig): Config {
  const { spec } = container;
  const settings = settingsOf(container);
  const config = readConfig(image);
  for (const entry of spec.env ?? []) {
    const equals = entry.indexOf('=');
    config.env.set(entry.slice(0, equals), entry.slice(equals + 1));
  }
  for (const [name, value] of Object.entries(visibleLabels(container))) config.labels.set(name, value);
  config.user = spec.user ?? config.user;
  config.workingDirectory = spec.workingDirectory ?? config.workingDirectory;
  config.stopSignal = spec.stopSignal ?? config.stopSignal;
  const entrypoint = settings?.entrypoint ?? spec.command;
  const cmd = settings?.cmd ?? spec.args;
  if (entrypoint !== undefined) {
    config.entrypoint = entrypoint.length === 0 ? undefined : entrypoint;
    config.cmd = cmd;
  } else config.cmd = cmd ?? config.cmd;
  for (const port of settings?.exposed ?? []) config.exposed.add(port);
  return config;
}

/** A configuration in the body goes over the container's, where it says something. */
function applyBody(config: Config, body: Fields): void {
  const own = readConfig(body.document);
  for (const [name, value] of own.env) config.env.set(name, value);
  for (const [name, value] of Object.entries(body.stringMap('Labels'))) config.labels.set(name, value);
  for (const port of own.exposed) config.exposed.add(port);
  for (const volume of own.volumes) config.volumes.add(volume);
  if (own.cmd !== undefined && own.cmd.length > 0) config.cmd = own.cmd;
  if (own.entrypoint !== undefined && own.entrypoint.length > 0) config.entrypoint = own.entrypoint;
  config.user = own.user || config.user;
  config.workingDirectory = own.workingDirectory || config.workingDirectory;
  config.stopSignal = own.stopSignal || config.stopSignal;
  config.healthcheck = own.healthcheck ?? config.healthcheck;
  if (own.onBuild.length > 0) config.onBuild = own.onBuild;
}

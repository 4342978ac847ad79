/** `/images/json`, `/images/{name}/json` and `/images/{name}/history`. */
import type { Image } from '../engine.ts';
import type { RunConfig } from '../images/assemble.ts';
import { answerJson, type Call, familiarName, findImage, flag } from './call.ts';
import { time } from './container-view.ts';
import { DockerError } from './errors.ts';
import { anyOf, hasLabels, parseFilters } from './filters.ts';
import { healthcheckView } from './host-config-view.ts';

const FILTERS = ['before', 'dangling', 'label', 'reference', 'since', 'until'];

export async function listImages(call: Call): Promise<void> {
  const filters = parseFilters(call.query.get('filters'), FILTERS);
  const used = new Map<string, number>();
  for (const { imageId } of call.engine.containers()) used.set(imageId, (used.get(imageId) ?? 0) + 1);
  const images = call.engine.images
    .list()
    .filter(
      (image) =>
        hasLabels(filters, image.config.labels ?? {}) &&
        anyOf(filters, 'dangling', (value) => ['1', 'true'].includes(value) === (tags(image).length === 0)) &&
        anyOf(filters, 'reference', (value) =>
          image.references.some((name) => fitsReference(familiarName(name), value)),
        ) &&
        anyOf(filters, 'before', (value) => image.createdAt < findImage(call, value).createdAt) &&
        anyOf(filters, 'since', (value) => image.createdAt > findImage(call, value).createdAt) &&
        anyOf(filters, 'until', (value) => image.createdAt < moment(value)),
    )
    .sort((left, right) => right.createdAt - left.createdAt || (left.id < right.id ? -1 : 1));
  answerJson(
    call,
    images.map((image) =>
      imageSummary(call, image, { shared: flag(call, 'shared-size') ? 0 : -1, containers: used.get(image.id) ?? 0 }),
    ),
  );
}

/** @param sizes  -1 for what was not looked at */
export function imageSummary(
  call: Call,
  image: Image,
  { shared, containers }: { shared: number; containers: number },
): Record<string, unknown> {
  return {
    Id: image.id,
    ParentId: '',
    RepoTags: tags(image),
    RepoDigests: digests(image),
    Created: Math.floor(image.createdAt / 1000),
    Size: image.sizeBytes,
    ...(call.minor < 44 ? { VirtualSize: image.sizeBytes } : {}),
    SharedSize: shared,
    Labels: image.config.labels ?? null,
    Containers: containers,
  };
}

export async function inspectImage(call: Call): Promise<void> {
  const image = findImage(call, call.path['name'] ?? '');
  const { config } = image;
  const made = await madeWith(call, image);
  const view = {
    User: config.user ?? '',
    ExposedPorts: Object.fromEntries((config.exposedPorts ?? []).map((port) => [port, {}])),
    Env: config.env ?? null,
    Cmd: config.cmd ?? null,
    Entrypoint: config.entrypoint ?? null,
    Volumes: config.volumes === undefined ? null : Object.fromEntries(config.volumes.map((path) => [path, {}])),
    WorkingDir: config.workingDirectory ?? '',
    Labels: config.labels ?? null,
    StopSignal: config.stopSignal ?? '',
    Healthcheck: healthcheckView(config.healthcheck),
    ...made.more,
  };
  answerJson(call, {
    Id: image.id,
    RepoTags: tags(image),
    RepoDigests: digests(image),
    Parent: '',
    Comment: made.comment,
    Created: time(image.createdAt),
    DockerVersion: '',
    Author: made.author,
    Config: view,
    // Docker shows it no more; docker-compose of version 1 reads the volumes of what it replaces here, whatever the version of the API.
    ContainerConfig: view,
    Architecture: config.architecture,
    Os: config.os,
    Size: image.sizeBytes,
    ...(call.minor < 44 ? { VirtualSize: image.sizeBytes } : {}),
    GraphDriver: { Name: 'overlay2', Data: null },
    RootFS: { Type: 'layers', Layers: config.layers },
    Metadata: { LastTagTime: '0001-01-01T00:00:00Z' },
  });
}

/** What the engine has no word for: it is shown as it was written. */
async function madeWith(
  call: Call,
  image: Image,
): Promise<{ author: string; comment: string; more: Record<string, unknown> }> {
  const { content } = call.engine.images;
  if (content === undefined) return { author: '', comment: '', more: { OnBuild: null } };
  const document = JSON.parse((await content.readAll(image.id)).toString('utf8')) as {
    author?: string;
    config?: RunConfig | null;
    history?: { comment?: string }[];
  };
  const { OnBuild, Shell } = document.config ?? {};
  return {
    author: document.author ?? '',
    comment: document.history?.at(-1)?.comment ?? '',
    more: {
      OnBuild: OnBuild ?? null,
      ...(Shell === undefined ? {} : { Shell }),
    },
  };
}

/** Newest step first. Steps that made no layer have no size; only the newest has an id and tags. */
export async function imageHistory(call: Call): Promise<void> {
  const image = findImage(call, call.path['name'] ?? '');
  const { images } = call.engine;
  const told = (await images.document?.(image))?.history ?? [];
  const sizes = [...(images.layerSizes?.(image) ?? [])];
  const steps =
    told.length > 0
      ? told
      : image.config.layers.map(() => ({
          emptyLayer: false,
          created: undefined,
          createdBy: undefined,
          comment: undefined,
        }));
  const views = steps.map((step) => ({
    Id: '<missing>',
    Created: Math.floor((step.created === undefined ? image.createdAt : Date.parse(step.created) || 0) / 1000),
    CreatedBy: step.createdBy ?? '',
    Tags: null as string[] | null,
    Size: step.emptyLayer ? 0 : (sizes.shift() ?? 0),
    Comment: step.comment ?? '',
  }));
  const newest = views.at(-1);
  if (newest !== undefined) Object.assign(newest, { Id: image.id, Tags: tags(image) });
  answerJson(call, views.reverse());
}

function tags(image: Image): string[] {
  return image.references.filter((reference) => !reference.includes('@')).map(familiarName);
}

/** Every repository that the image has a name in, with its digest. */
function digests(image: Image): string[] {
  return [...new Set(image.references.map((reference) => `${familiarName(repositoryOf(reference))}@${image.digest}`))];
}

function repositoryOf(reference: string): string {
  const at = reference.indexOf('@');
  return at >= 0 ? reference.slice(0, at) : reference.slice(0, reference.lastIndexOf(':'));
}

/** Docker's glob over a reference, with or without its tag: `*` stays within a component. */
function fitsReference(reference: string, glob: string): boolean {
  const source = glob
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replace(/\*/g, '[^/]*')
    .replace(/\?/g, '[^/]');
  const expression = new RegExp(`^${source}$`);
  return expression.test(reference) || expression.test(repositoryOf(reference));
}

function moment(text: string): number {
  const at = /^\d+(\.\d+)?$/.test(text) ? Number(text) * 1000 : Date.parse(text);
  if (Number.isNaN(at))
    throw new DockerError(400, `filter until=${JSON.stringify(text)} is no time; give seconds or RFC 3339`);
  return at;
}

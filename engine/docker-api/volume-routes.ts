/** `/volumes`. */
import { Fields, readBody } from './body.ts';
import { answerEmpty, answerJson, type Call, flag } from './call.ts';
import { time } from './container-view.ts';
import { diskUse } from '../containers/disk-use.ts';
import { DockerError } from './errors.ts';
import { anyOf, hasExcludedLabel, hasLabels, parseFilters, pattern } from './filters.ts';
import { checkDriver } from './mount-request.ts';
import type { Route } from './route.ts';
import { ANONYMOUS_LABEL, type Volume } from './volumes.ts';

export const volumeView = ({ name, directory, labels, options, createdAt }: Volume): Record<string, unknown> => ({
  Name: name,
  Driver: 'local',
  Mountpoint: directory,
  CreatedAt: time(createdAt),
  Labels: labels,
  Scope: 'local',
  Options: Object.keys(options).length === 0 ? null : options,
});

export async function listVolumes(call: Call): Promise<void> {
  const filters = parseFilters(call.query.get('filters'), ['name', 'label', 'dangling', 'driver']);
  const { volumes } = call.docker;
  const fitting = volumes
    .list()
    .filter(
      ({ name, labels }) =>
        hasLabels(filters, labels) &&
        anyOf(filters, 'name', (value) => pattern(value).test(name)) &&
        anyOf(filters, 'driver', (value) => value === 'local') &&
        anyOf(
          filters,
          'dangling',
          (value) => ['1', 'true'].includes(value) === (call.docker.usersOf(name).length === 0),
        ),
    );
  answerJson(call, { Volumes: fitting.map(volumeView), Warnings: null });
}

export async function createVolume(call: Call): Promise<void> {
  const fields = new Fields(await readBody(call));
  checkDriver(fields.text('Driver'));
  const name = fields.text('Name');
  const volume = await call.docker.volumes.create({
    name,
    labels: { ...fields.stringMap('Labels'), ...(name === '' ? { [ANONYMOUS_LABEL]: '' } : {}) },
    options: fields.stringMap('DriverOpts'),
    anonymous: false,
  });
  call.docker.happenings.add('volume', 'create', volume.name, { driver: 'local' });
  answerJson(call, volumeView(volume), 201);
}

export async function inspectVolume(call: Call): Promise<void> {
  answerJson(call, volumeView(findVolume(call)));
}

export async function removeVolume(call: Call): Promise<void> {
  const name = call.path['name'] ?? '';
  if (flag(call, 'force') && call.docker.volumes.get(name) === undefined) return answerEmpty(call);
  await remove(call, findVolume(call).name);
  answerEmpty(call);
}

/** Those without a name of their own, unless `all` is asked for, as clients before 1.42 always do. */
export async function pruneVolumes(call: Call): Promise<void> {
  const filters = parseFilters(call.query.get('filters'), ['label', 'label!', 'all']);
  const all = call.minor < 42 || (filters.get('all') ?? []).some((value) => ['1', 'true'].includes(value));
  const removed: string[] = [];
  let reclaimed = 0;
  for (const { name, labels, directory } of call.docker.volumes.list()) {
    if (!(all || ANONYMOUS_LABEL in labels) || call.docker.usersOf(name).length > 0) continue;
    if (!hasLabels(filters, labels) || hasExcludedLabel(filters, labels)) continue;
    reclaimed += await diskUse(directory);
    await remove(call, name);
    removed.push(name);
  }
  answerJson(call, { VolumesDeleted: removed, SpaceReclaimed: reclaimed });
}

async function remove(call: Call, name: string): Promise<void> {
  const users = call.docker.usersOf(name);
  if (users.length > 0) throw new DockerError(409, `remove ${name}: volume is in use - [${users.join(', ')}]`);
  await call.docker.volumes.remove(name);
  call.docker.happenings.add('volume', 'destroy', name, { driver: 'local' });
}

function findVolume(call: Call): Volume {
  const name = call.path['name'] ?? '';
  const volume = call.docker.volumes.get(name);
  if (volume === undefined) throw new DockerError(404, `get ${name}: no such volume`);
  return volume;
}

export const VOLUME_ROUTES: readonly Route[] = [
  {
    method: 'GET',
    path: '/volumes',
    summary: 'Named volumes; filters',
    handle: listVolumes,
    test: 'engine/docker-api/run.test.ts',
  },
  {
    method: 'POST',
    path: '/volumes/create',
    summary: 'Makes one, or answers the one that is there',
    handle: createVolume,
    test: 'engine/docker-api/run.test.ts',
  },
  {
    method: 'POST',
    path: '/volumes/prune',
    summary: 'Removes those without a name; all',
    handle: pruneVolumes,
    test: 'engine/docker-api/audit.test.ts',
  },
  {
    method: 'GET',
    path: '/volumes/{name}',
    summary: 'One volume',
    handle: inspectVolume,
    test: 'engine/docker-api/run.test.ts',
  },
  {
    method: 'DELETE',
    path: '/volumes/{name}',
    summary: 'Removes one that no container has',
    handle: removeVolume,
    test: 'engine/docker-api/run.test.ts',
  },
];

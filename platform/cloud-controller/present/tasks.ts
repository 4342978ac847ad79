import type { Stored } from '#cluster/kinds/kind.ts';
import type { Task } from '../../resources/types.ts';
import type { Json, Urls } from '../api.ts';
import { base, link, metadata, toOne } from './base.ts';

export function taskState(task: Stored<Task>): NonNullable<Task['status']>['state'] {
  return task.status?.state ?? 'PENDING';
}

/** @param options.command  a command may hold a secret: only who may change the app sees it */
export function presentTask(urls: Urls, task: Stored<Task>, options: { command: boolean }): Json {
  const self = `${urls.api}/v3/tasks/${task.metadata.name}`;
  const { spec } = task;
  return {
    ...base(task),
    sequence_id: spec.sequence,
    name: spec.displayName,
    ...(options.command ? { command: spec.command } : {}),
    user: null,
    state: taskState(task),
    memory_in_mb: spec.memoryMb,
    disk_in_mb: spec.diskMb,
    log_rate_limit_in_bytes_per_second: spec.logRateLimitBytes,
    result: { failure_reason: task.status?.failureReason ?? null },
    droplet_guid: spec.droplet,
    relationships: { app: toOne(spec.app) },
    metadata: metadata(task),
    links: {
      self: link(self),
      app: link(`${urls.api}/v3/apps/${spec.app}`),
      droplet: link(`${urls.api}/v3/droplets/${spec.droplet}`),
      cancel: link(`${self}/actions/cancel`, 'POST'),
    },
  };
}

import { getArchive, headArchive, putArchive } from './archive.ts';
import { attachContainer, attachWebSocket } from './attach.ts';
import { inspectContainer, listContainers } from './containers.ts';
import { createExec, inspectExec, resizeExec, startExec } from './execs.ts';
import {
  createContainer,
  killContainer,
  pruneContainers,
  removeContainer,
  resizeContainer,
  restartContainer,
  startContainer,
  stopContainer,
  waitContainer,
} from './lifecycle.ts';
import { containerLogs } from './logs.ts';
import type { Route } from './route.ts';
import { containerStats } from './stats.ts';
import { containerTop } from './top.ts';
import { pauseContainer, renameContainer, unpauseContainer, updateContainer } from './verbs.ts';

const container = '/containers/{id}';

export const CONTAINER_ROUTES: readonly Route[] = [
  {
    method: 'GET',
    path: '/containers/json',
    summary: 'Containers, those of pods too; filters, all, limit, size',
    handle: listContainers,
    test: 'engine/docker-api/audit.test.ts',
  },
  {
    method: 'GET',
    path: `${container}/json`,
    summary: 'All that is known of one container',
    handle: inspectContainer,
    test: 'engine/docker-api/audit.test.ts',
  },
  {
    method: 'GET',
    path: `${container}/logs`,
    summary: 'Its output: follow, since, until, tail, timestamps',
    handle: containerLogs,
    test: 'engine/docker-api/audit.test.ts',
  },
  {
    method: 'POST',
    path: '/containers/create',
    summary: 'Makes a container with a sandbox of its own; what would open the host is refused',
    handle: createContainer,
    state: 'partial',
    note: 'devices, host namespaces and more only where the engine was started with the flag that names the risk; no cgroup parents',
    test: 'engine/docker-api/options.test.ts',
  },
  {
    method: 'POST',
    path: `${container}/start`,
    summary: 'Starts it, also once more',
    handle: startContainer,
    test: 'engine/docker-api/run.test.ts',
  },
  {
    method: 'POST',
    path: `${container}/stop`,
    summary: 'Its stop signal, then SIGKILL',
    handle: stopContainer,
    test: 'engine/docker-api/run.test.ts',
  },
  {
    method: 'POST',
    path: `${container}/restart`,
    summary: 'Stop and start',
    handle: restartContainer,
    test: 'engine/docker-api/run.test.ts',
  },
  {
    method: 'POST',
    path: `${container}/kill`,
    summary: 'Sends a signal',
    handle: killContainer,
    test: 'engine/docker-api/run.test.ts',
  },
  {
    method: 'POST',
    path: `${container}/wait`,
    summary: 'Answers when it ended',
    handle: waitContainer,
    test: 'engine/docker-api/run.test.ts',
  },
  {
    method: 'POST',
    path: `${container}/resize`,
    summary: 'Resizes its terminal',
    handle: resizeContainer,
    test: 'engine/docker-api/system.test.ts',
  },
  {
    method: 'POST',
    path: `${container}/attach`,
    summary: 'Its input and output, upgraded to a raw stream; logs, detach keys',
    handle: attachContainer,
    test: 'engine/docker-api/attach.test.ts',
  },
  {
    method: 'GET',
    path: `${container}/attach/ws`,
    summary: 'The same over a WebSocket, both streams in one',
    handle: attachWebSocket,
    test: 'engine/docker-api/system.test.ts',
  },
  {
    method: 'POST',
    path: `${container}/pause`,
    summary: 'Freezes its processes',
    handle: pauseContainer,
    test: 'engine/docker-api/verbs.test.ts',
  },
  {
    method: 'POST',
    path: `${container}/unpause`,
    summary: 'Lets them go on',
    handle: unpauseContainer,
    test: 'engine/docker-api/verbs.test.ts',
  },
  {
    method: 'POST',
    path: `${container}/rename`,
    summary: 'Gives it another name',
    handle: renameContainer,
    test: 'engine/docker-api/verbs.test.ts',
  },
  {
    method: 'POST',
    path: `${container}/update`,
    summary: 'Other limits or another restart policy, at once',
    handle: updateContainer,
    test: 'engine/docker-api/verbs.test.ts',
  },
  {
    method: 'GET',
    path: `${container}/top`,
    summary: 'Its processes, as ps shows them',
    handle: containerTop,
    state: 'partial',
    note: 'the formats -ef, aux and -o with columns; other words of ps are refused',
    test: 'engine/docker-api/verbs.test.ts',
  },
  {
    method: 'GET',
    path: `${container}/stats`,
    summary: 'What it uses, once or each second',
    handle: containerStats,
    test: 'engine/docker-api/verbs.test.ts',
  },
  {
    method: 'HEAD',
    path: `${container}/archive`,
    summary: 'What is at a path in it',
    handle: headArchive,
    test: 'engine/docker-api/cp.test.ts',
  },
  {
    method: 'GET',
    path: `${container}/archive`,
    summary: 'Files of it as an archive',
    handle: getArchive,
    test: 'engine/docker-api/cp.test.ts',
  },
  {
    method: 'PUT',
    path: `${container}/archive`,
    summary: 'Unpacks an archive in it',
    handle: putArchive,
    test: 'engine/docker-api/cp.test.ts',
  },
  {
    method: 'DELETE',
    path: container,
    summary: 'Removes it; one of a pod is refused',
    handle: removeContainer,
    test: 'engine/docker-api/run.test.ts',
  },
  {
    method: 'POST',
    path: '/containers/prune',
    summary: 'Removes those that ended',
    handle: pruneContainers,
    test: 'engine/docker-api/run.test.ts',
  },
  {
    method: 'POST',
    path: `${container}/exec`,
    summary: 'Announces a command',
    handle: createExec,
    test: 'engine/docker-api/system.test.ts',
  },
  {
    method: 'POST',
    path: '/exec/{id}/start',
    summary: 'Runs it, with or without a terminal',
    handle: startExec,
    test: 'engine/docker-api/system.test.ts',
  },
  {
    method: 'POST',
    path: '/exec/{id}/resize',
    summary: 'Resizes its terminal',
    handle: resizeExec,
    test: 'engine/docker-api/system.test.ts',
  },
  {
    method: 'GET',
    path: '/exec/{id}/json',
    summary: 'What it is, and its exit status',
    handle: inspectExec,
    test: 'engine/docker-api/system.test.ts',
  },
];

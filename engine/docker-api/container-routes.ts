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
  },
  { method: 'GET', path: `${container}/json`, summary: 'All that is known of one container', handle: inspectContainer },
  {
    method: 'GET',
    path: `${container}/logs`,
    summary: 'Its output: follow, since, until, tail, timestamps',
    handle: containerLogs,
  },
  {
    method: 'POST',
    path: '/containers/create',
    summary: 'Makes a container with a sandbox of its own; what would open the host is refused',
    handle: createContainer,
  },
  { method: 'POST', path: `${container}/start`, summary: 'Starts it, also once more', handle: startContainer },
  { method: 'POST', path: `${container}/stop`, summary: 'Its stop signal, then SIGKILL', handle: stopContainer },
  { method: 'POST', path: `${container}/restart`, summary: 'Stop and start', handle: restartContainer },
  { method: 'POST', path: `${container}/kill`, summary: 'Sends a signal', handle: killContainer },
  { method: 'POST', path: `${container}/wait`, summary: 'Answers when it ended', handle: waitContainer },
  { method: 'POST', path: `${container}/resize`, summary: 'Resizes its terminal', handle: resizeContainer },
  {
    method: 'POST',
    path: `${container}/attach`,
    summary: 'Its input and output, upgraded to a raw stream; logs, detach keys',
    handle: attachContainer,
  },
  {
    method: 'GET',
    path: `${container}/attach/ws`,
    summary: 'The same over a WebSocket, both streams in one',
    handle: attachWebSocket,
  },
  { method: 'POST', path: `${container}/pause`, summary: 'Freezes its processes', handle: pauseContainer },
  { method: 'POST', path: `${container}/unpause`, summary: 'Lets them go on', handle: unpauseContainer },
  { method: 'POST', path: `${container}/rename`, summary: 'Gives it another name', handle: renameContainer },
  {
    method: 'POST',
    path: `${container}/update`,
    summary: 'Other limits or another restart policy, at once',
    handle: updateContainer,
  },
  { method: 'GET', path: `${container}/top`, summary: 'Its processes, as ps shows them', handle: containerTop },
  {
    method: 'GET',
    path: `${container}/stats`,
    summary: 'What it uses, once or each second',
    handle: containerStats,
  },
  { method: 'HEAD', path: `${container}/archive`, summary: 'What is at a path in it', handle: headArchive },
  { method: 'GET', path: `${container}/archive`, summary: 'Files of it as an archive', handle: getArchive },
  { method: 'PUT', path: `${container}/archive`, summary: 'Unpacks an archive in it', handle: putArchive },
  { method: 'DELETE', path: container, summary: 'Removes it; one of a pod is refused', handle: removeContainer },
  { method: 'POST', path: '/containers/prune', summary: 'Removes those that ended', handle: pruneContainers },
  { method: 'POST', path: `${container}/exec`, summary: 'Announces a command', handle: createExec },
  { method: 'POST', path: '/exec/{id}/start', summary: 'Runs it, with or without a terminal', handle: startExec },
  { method: 'POST', path: '/exec/{id}/resize', summary: 'Resizes its terminal', handle: resizeExec },
  { method: 'GET', path: '/exec/{id}/json', summary: 'What it is, and its exit status', handle: inspectExec },
];

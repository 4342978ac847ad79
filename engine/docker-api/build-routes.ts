import { build } from './build.ts';
import { pruneBuilds } from './build-cache.ts';
import { NO_BUILDKIT } from './build-request.ts';
import { DockerError } from './errors.ts';
import type { Route } from './route.ts';
import { commitContainer, containerChanges, exportContainer } from './written.ts';

async function noBuildKit(): Promise<void> {
  throw new DockerError(501, NO_BUILDKIT);
}

const BUILD_TEST = 'engine/docker-api/build.test.ts';
const CONTEXT_TEST = 'engine/docker-api/build-context.test.ts';
const WRITTEN_TEST = 'engine/docker-api/written.test.ts';

export const BUILD_ROUTES: readonly Route[] = [
  {
    method: 'POST',
    path: '/build',
    summary: 'Builds an image of a Dockerfile, as the classic builder',
    handle: build,
    state: 'partial',
    note: 'squash, outputs, securityopt, cgroupparent, git repositories and version 2 (BuildKit) are refused; cachefrom is accepted',
    test: BUILD_TEST,
  },
  {
    method: 'POST',
    path: '/build/prune',
    summary: 'Forgets the steps of earlier builds',
    handle: pruneBuilds,
    state: 'partial',
    note: 'of the filters, until and unused-for count',
    test: BUILD_TEST,
  },
  {
    method: 'POST',
    path: '/session',
    handle: noBuildKit,
    state: 'absent',
    note: 'it is of BuildKit, whose API is not implemented',
    test: CONTEXT_TEST,
  },
  {
    method: 'POST',
    path: '/grpc',
    handle: noBuildKit,
    state: 'absent',
    note: 'it is of BuildKit, whose API is not implemented',
    test: CONTEXT_TEST,
  },
  {
    method: 'POST',
    path: '/commit',
    summary: 'An image of what a container wrote; changes, pause',
    handle: commitContainer,
    test: WRITTEN_TEST,
  },
  {
    method: 'GET',
    path: '/containers/{id}/changes',
    summary: 'What a container changed, added and deleted',
    handle: containerChanges,
    test: WRITTEN_TEST,
  },
  {
    method: 'GET',
    path: '/containers/{id}/export',
    summary: 'Its root file system as an archive',
    handle: exportContainer,
    test: WRITTEN_TEST,
  },
];

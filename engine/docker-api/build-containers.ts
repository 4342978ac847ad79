/**
 * Containers of a build's steps, as Docker's clients see them: with a name and settings of their own, so that one that stays can be
 * looked at and removed. A mark on the disk says which are of a build under way: what a killed engine left goes by it.
 */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { StepContainers } from '../build/build.ts';
import type { Engine } from '../engine.ts';
import type { DockerEngine } from './call.ts';
import { readCreateRequest } from './create-request.ts';
import type { DockerContainers } from './docker-containers.ts';
import { randomName } from './names.ts';
import { SANDBOX_LABEL, SETTINGS_LABEL } from './settings.ts';

function marks(engine: Pick<Engine, 'info'>): string {
  return join(engine.info().dataDirectory, 'engine', 'build', 'steps');
}

/** For bytes of contexts under way; nothing in it has a name for longer than a moment. */
export function contextDirectory(engine: Pick<Engine, 'info'>): string {
  return join(engine.info().dataDirectory, 'engine', 'build', 'contexts');
}

export function stepContainers(engine: DockerEngine, docker: DockerContainers): StepContainers {
  const directory = marks(engine);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const forget = (id: string): void => rmSync(join(directory, id), { force: true });
  return {
    announce(id, command) {
      writeFileSync(join(directory, id), '');
      const { settings } = readCreateRequest(
        { Image: 'step', Cmd: command, Entrypoint: [] },
        { id, engine, healthOf: () => undefined },
      );
      return {
        name: randomName((name) => docker.nameTaken(name) !== undefined),
        labels: { [SETTINGS_LABEL]: JSON.stringify(settings) },
        sandboxLabels: { [SANDBOX_LABEL]: id },
      };
    },
    keep: forget,
    forget,
  };
}

/** Call once, before the first build. */
export async function removeUnfinishedSteps(engine: Engine, docker: DockerContainers): Promise<void> {
  const directory = marks(engine);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  rmSync(contextDirectory(engine), { recursive: true, force: true });
  for (const id of readdirSync(directory)) {
    const container = engine.container(id);
    if (container !== undefined) await docker.remove(container, { force: true });
    rmSync(join(directory, id), { force: true });
  }
}

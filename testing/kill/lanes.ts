/** Lanes of work on one engine, each on things of its own, until the engine does not answer any more. */
import assert from 'node:assert/strict';
import { tarOf } from '../oci-layout.ts';
import { ask, type Answer } from './api-client.ts';
import type { KnownContainer, Model, Presence, State } from './model.ts';
import type { Random } from './random.ts';

export interface LaneOptions {
  socketPath: string;
  model: Model;
  random: Random;
  /** Begins the names of what this lane makes. */
  prefix: string;
  image: string;
  /** References that nobody pulled yet; each is given once. */
  nextImage: () => string | undefined;
}

/** Thrown inside a lane when no answer came: the engine is dead, and the lane ends. */
class Killed extends Error {}

/** Makes, starts, executes in, stops and removes containers. */
export async function containerLane(options: LaneOptions): Promise<void> {
  await untilKilled(async () => {
    const { model, random, prefix } = options;
    for (let count = 0; ; count += 1) {
      const own = [...model.containers.values()].filter(({ name }) => name.startsWith(prefix));
      const known = own[random.below(Math.max(own.length, 1))];
      if (known === undefined || (own.length < 4 && random.onceIn(2))) {
        await create(options, `${prefix}${random.below(1e9)}-${count}`);
      } else await step(options, known);
    }
  });
}

async function create(options: LaneOptions, name: string): Promise<void> {
  const { model, random, socketPath, image } = options;
  const isShort = random.onceIn(3);
  const autoRemove = random.onceIn(4);
  const container: KnownContainer = {
    name,
    isShort,
    autoRemove,
    mayStart: false,
    may: new Set(['absent', 'created']),
    history: [],
  };
  model.containers.set(name, container);
  const binds = random.of<string[]>([[], ['shared:/shared'], ['/own'], ['shared:/shared:ro', '/own']]);
  await told(
    container,
    'create',
    ['created'],
    await ask(socketPath, 'POST', `/containers/create?name=${name}`, {
      Image: image,
      Cmd: isShort ? ['sh', '-c', 'exit 3'] : ['sleep', '1000'],
      HostConfig: {
        AutoRemove: autoRemove,
        Binds: binds,
        PortBindings: random.onceIn(3) ? { '80/tcp': [{ HostPort: '0' }] } : {},
        RestartPolicy: autoRemove || isShort ? {} : { Name: 'unless-stopped' },
      },
    }),
  );
  if (random.onceIn(4)) return;
  await start(options, container);
}

async function start({ socketPath }: LaneOptions, container: KnownContainer): Promise<void> {
  const after: State[] = container.isShort ? ['running', 'exited'] : ['running'];
  unanswered(container, ['running', ...(container.isShort ? (['exited'] as const) : [])]);
  await told(container, 'start', after, await ask(socketPath, 'POST', `/containers/${container.name}/start`));
}

async function step(options: LaneOptions, container: KnownContainer): Promise<void> {
  const { socketPath, random, model } = options;
  const path = `/containers/${container.name}`;
  switch (random.below(4)) {
    case 0:
      return await start(options, container);
    case 1:
      unanswered(container, container.may.has('running') ? ['exited'] : []);
      return await told(
        container,
        'stop',
        [...container.may].includes('created') && !container.may.has('running') ? ['created'] : ['exited'],
        await ask(socketPath, 'POST', `${path}/stop?t=0`),
      );
    case 2: {
      const exec = await answered(ask(socketPath, 'POST', `${path}/exec`, { Cmd: ['sh', '-c', 'sleep 0.05'] }));
      if (exec.status !== 201) return;
      const { Id: id } = JSON.parse(exec.text) as { Id: string };
      container.history.push('exec');
      await answered(ask(socketPath, 'POST', `/exec/${id}/start`, { Detach: random.onceIn(2) }));
      return;
    }
    default:
      unanswered(container, ['absent', ...(container.may.has('running') ? (['exited'] as const) : [])]);
      await told(container, 'remove', ['absent'], await ask(socketPath, 'DELETE', `${path}?force=1&v=1`));
      // Of one that goes by itself the answer may be that it is about to.
      if (!container.may.has('exited')) model.containers.delete(container.name);
  }
}

/** From before a request is sent until it is answered, what it leads to may be as well. */
function unanswered(container: KnownContainer, states: State[]): void {
  for (const state of states) container.may.add(state);
}

async function told(
  container: KnownContainer,
  verb: string,
  after: State[],
  answer: Answer | undefined,
): Promise<void> {
  if (answer === undefined) {
    container.history.push(`${verb}?`);
    if (verb === 'start' && !(container.isShort || container.autoRemove)) container.mayStart = true;
    throw new Killed();
  }
  container.history.push(`${verb} ${answer.status}`);
  // `--rm` takes it away by itself, at any moment after its end.
  if (container.autoRemove && [404, 409].includes(answer.status)) {
    container.may = new Set(['absent', 'exited']);
    return;
  }
  assert.ok(answer.status < 400, `${verb} ${container.name}: ${answer.status} ${answer.text}`);
  container.may = new Set(after);
  container.mayStart = false;
}

/** Makes and removes volumes. */
export async function volumeLane({ socketPath, model, random, prefix }: LaneOptions): Promise<void> {
  await untilKilled(async () => {
    for (let count = 0; ; count += 1) {
      const own = [...model.volumes.keys()].filter((name) => name.startsWith(prefix));
      const known = own[random.below(own.length + 2)];
      const name = known ?? `${prefix}${random.below(1e9)}-${count}`;
      model.volumes.set(name, undefined);
      const wish = { Name: name, Labels: { lane: prefix } };
      const answer = await answered(
        known === undefined
          ? ask(socketPath, 'POST', '/volumes/create', wish)
          : ask(socketPath, 'DELETE', `/volumes/${name}`),
      );
      assert.ok(answer.status < 400, `volume ${name}: ${answer.status} ${answer.text}`);
      finish(model.volumes, name, known === undefined);
    }
  });
}

/** Pulls images that are new to the engine, names them anew, and removes them. */
export async function imageLane({ socketPath, model, random, nextImage }: LaneOptions): Promise<void> {
  await untilKilled(async () => {
    for (let reference = nextImage(); reference !== undefined; reference = nextImage()) {
      model.images.set(reference, undefined);
      const pull = await answered(ask(socketPath, 'POST', `/images/create?fromImage=${encodeURIComponent(reference)}`));
      assert.ok(pull.status === 200 && !pull.text.includes('"errorDetail"'), `pull ${reference}: ${pull.text}`);
      model.images.set(reference, true);
      if (random.onceIn(3)) continue;
      model.images.set(reference, undefined);
      const removed = await answered(ask(socketPath, 'DELETE', `/images/${encodeURIComponent(reference)}`));
      assert.equal(removed.status, 200, `rmi ${reference}: ${removed.text}`);
      finish(model.images, reference, false);
    }
  });
}

/** Builds images of two steps, the second of which runs in a container, and removes some of them. */
export async function buildLane({ socketPath, model, random, prefix, image }: LaneOptions): Promise<void> {
  await untilKilled(async () => {
    for (let count = 0; ; count += 1) {
      const name = `${BUILT}${prefix}${random.below(1e9)}-${count}`;
      const salt = String(random.below(1e9));
      model.images.set(name, undefined);
      const path = `/build?t=${encodeURIComponent(name)}${random.onceIn(2) ? '&nocache=1' : ''}`;
      const build = await answered(ask(socketPath, 'POST', path, await contextOf(image, salt)));
      assert.ok(build.status === 200 && !build.text.includes('"errorDetail"'), `build ${name}: ${build.text}`);
      model.images.set(name, true);
      if (random.onceIn(3)) continue;
      model.images.set(name, undefined);
      const removed = await answered(ask(socketPath, 'DELETE', `/images/${encodeURIComponent(name)}`));
      assert.equal(removed.status, 200, `rmi ${name}: ${removed.text}`);
      finish(model.images, name, false);
    }
  });
}

/** Begins the names of images that were built. */
export const BUILT = 'docker.io/built/';

async function contextOf(image: string, salt: string): Promise<Uint8Array> {
  const dockerfile = `FROM ${image}\nCOPY salt /salt\nRUN cat /salt > /run-${salt}; dd if=/dev/zero of=/big bs=64k count=8 2>/dev/null\n`;
  return await tarOf([
    { name: 'Dockerfile', data: Buffer.from(dockerfile) },
    { name: 'salt', data: Buffer.from(salt) },
  ]);
}

function finish(presence: Presence, name: string, isThere: boolean): void {
  if (isThere) presence.set(name, true);
  else presence.delete(name);
}

async function answered(answer: Promise<Answer | undefined>): Promise<Answer> {
  const found = await answer;
  if (found === undefined) throw new Killed();
  return found;
}

async function untilKilled(work: () => Promise<void>): Promise<void> {
  await work().catch((error: unknown) => {
    if (!(error instanceof Killed)) throw error;
  });
}

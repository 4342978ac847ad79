/**
 * Rounds of: an engine in a process of its own, work on it, `kill -9` at a random moment, and the next engine asked whether it
 * knows what was acknowledged, and whether nothing is there that it does not know.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { startDockerApi } from '#engine/docker-api/server.ts';
import { settingsOf } from '#engine/docker-api/settings.ts';
import { type OpenedEngine, openEngine } from '#engine/open.ts';
import type { EngineOptions } from '#engine/options.ts';
import { digestOf } from '#lib/digest.ts';
import { simulateBoot } from '../boot.ts';
import { addBusyboxImage } from '../busybox-image.ts';
import { engineOptionsForTest, removeAll } from '../engine-host.ts';
import { orphans } from './agreement.ts';
import { ask } from './api-client.ts';
import { type ImageSource, startImageSource } from './image-source.ts';
import { BUILT, buildLane, containerLane, imageLane, type LaneOptions, volumeLane } from './lanes.ts';
import { Model, type State } from './model.ts';
import { until } from '../until.ts';
import { Random } from './random.ts';

const engineProcess = fileURLToPath(new URL('../docker-chaos.ts', import.meta.url));
/** Of the work that is killed, in milliseconds; now and then long enough for a build to end beside all the rest. */
const LONGEST_WORK = 900;
const LONGER_WORK = 4000;

export interface KillRounds {
  rounds: number;
  /** The moments within the work are not the same with the same seed, since the machine's are not; what is asked for is. */
  seed: number;
  report: (line: string) => void;
}

export async function killRounds({ rounds, seed, report }: KillRounds): Promise<void> {
  const random = new Random(seed);
  report(`seed ${seed}: SAMPAN_KILL_SEED=${seed} does the same again`);
  await using source = await startImageSource();
  const options: EngineOptions = {
    ...engineOptionsForTest(),
    sandboxPool: 1,
    registries: { [source.host]: { ca: source.ca } },
  };
  const model = new Model();
  const socketPath = join(options.runDirectory, 'docker.sock');
  mkdirSync(options.runDirectory, { recursive: true, mode: 0o711 });
  try {
    const first = await openEngine(options);
    const image = await addBusyboxImage(first.images);
    await first.close();
    for (let round = 0; round < rounds; round += 1) {
      // Every tenth dies while it takes over what the one before left.
      const isOpening = random.onceIn(10);
      if (isOpening) await killOpening(options, socketPath, random);
      else await killWorking({ options, socketPath, model, random, image, source, round });
      if (random.onceIn(12)) {
        await simulateBoot(options);
        model.boot();
      }
      await judge(options, socketPath, model, source, `round ${round} of seed ${seed}`);
      if (round % 20 === 19) report(`${round + 1} rounds`);
    }
  } finally {
    await removeAll(options);
  }
}

function startEngine({ log: _log, ...plain }: EngineOptions, socketPath: string): ReturnType<typeof spawn> {
  return spawn(process.execPath, ['--experimental-ffi', engineProcess, JSON.stringify(plain), socketPath], {
    stdio: ['ignore', 'pipe', process.env['SAMPAN_TEST_VERBOSE'] ? 'inherit' : 'ignore'],
  });
}

async function killOpening(options: EngineOptions, socketPath: string, random: Random): Promise<void> {
  const child = startEngine(options, socketPath);
  const closed = once(child, 'close');
  // Where within its opening is the random part of the test; nothing is waited for.
  await delay(random.below(700));
  child.kill('SIGKILL');
  await closed;
}

interface Work {
  options: EngineOptions;
  socketPath: string;
  model: Model;
  random: Random;
  image: string;
  source: ImageSource;
  round: number;
}

async function killWorking({ options, socketPath, model, random, image, source, round }: Work): Promise<void> {
  const references = [
    await source.add(`r${round}-0`, random),
    await source.add(`r${round}-1`, random),
    await source.add(`r${round}-2`, random),
  ];
  const child = startEngine(options, socketPath);
  const closed = once(child, 'close');
  if (child.stdout === null) throw new Error('the engine has no output');
  await Promise.race([once(child.stdout, 'data'), closed]);
  assert.equal(child.exitCode, null, 'the engine opens over what the one before left');
  const lane = (prefix: string): LaneOptions => ({
    socketPath,
    model,
    random: new Random(random.below(2 ** 32)),
    prefix,
    image,
    nextImage: () => references.shift(),
  });
  const lanes = Promise.all([
    containerLane(lane('a-')),
    containerLane(lane('b-')),
    volumeLane(lane('v-')),
    imageLane(lane('i-')),
    buildLane(lane('d-')),
  ]);
  // A lane that fails ends the wait, so that its reason is told.
  try {
    await Promise.race([lanes, delay(random.below(random.onceIn(6) ? LONGER_WORK : LONGEST_WORK))]);
  } finally {
    child.kill('SIGKILL');
    await closed;
  }
  await lanes;
}

/** The next engine, without a pool, so that it makes nothing of its own accord. */
async function judge(
  options: EngineOptions,
  socketPath: string,
  model: Model,
  source: ImageSource,
  what: string,
): Promise<void> {
  const engine = await openEngine({ ...options, sandboxPool: 0 });
  try {
    const api = await startDockerApi({ engine, socketPath, version: '0.1.0' });
    try {
      assert.deepEqual(await orphans(engine, options), [], what);
      await until(
        async () => !engine.containers().some((one) => one.state === 'exited' && settingsOf(one)?.autoRemove),
      );
      const states = new Map(engine.containers().map((container) => [container.name, stateOf(container)]));
      for (const container of model.containers.values()) {
        const state = states.get(container.name) ?? 'absent';
        const may = Model.settled(container);
        assert.ok(
          may.has(state),
          `${what}: ${container.name} is ${state}, not ${[...may].join(' or ')}; ${container.history.join(', ')}`,
        );
      }
      for (const [name, state] of states) assert.ok(model.containers.has(name), `${what}: ${name} is ${state}`);
      const volumes = await volumeNames(socketPath);
      judgePresence(model.volumes, volumes, what);
      const images = await wholeImages(engine, source);
      judgePresence(model.images, images, what);
      model.observe(states, volumes, images);
      await clearSome(engine, socketPath, model);
    } finally {
      await api.close();
    }
  } finally {
    await engine.close();
  }
}

/** A start that failed leaves a container as it was made. */
function stateOf({ state, startedAt }: { state: State; startedAt?: number }): State {
  return state === 'exited' && startedAt === undefined ? 'created' : state;
}

function judgePresence(known: Model['volumes'], found: ReadonlySet<string>, what: string): void {
  for (const [name, wanted] of known)
    assert.ok(wanted === undefined || wanted === found.has(name), `${what}: ${name} is there: ${found.has(name)}`);
  for (const name of found) assert.ok(known.has(name), `${what}: ${name} is there`);
}

/** Without those that a container alone has, and the one that is shared. */
async function volumeNames(socketPath: string): Promise<Set<string>> {
  const answer = await ask(socketPath, 'GET', '/volumes');
  const { Volumes: volumes } = JSON.parse(answer?.text ?? '{}') as { Volumes: { Name: string }[] };
  const names = volumes.map(({ Name: name }) => name);
  return new Set(names.filter((name) => name !== 'shared' && !/^[0-9a-f]{64}$/.test(name)));
}

/** What has a name is whole: every layer is there, with what was in the registry. */
async function wholeImages(engine: OpenedEngine, source: ImageSource): Promise<Set<string>> {
  const found = new Set<string>();
  for (const [reference, files] of source.contents) {
    const image = engine.images.get(reference);
    if (image === undefined) continue;
    found.add(reference);
    const layers = (await engine.images.layerDirectories(image)).reverse();
    for (const [index, digest] of files.entries()) {
      const file = join(layers[index] ?? '', `content-${index}`);
      assert.ok(existsSync(file) && digestOf(readFileSync(file)) === digest, `${reference}: ${file} is whole`);
    }
  }
  for (const image of engine.images.list())
    for (const reference of image.references.filter((one) => one.startsWith(BUILT))) {
      const [top = ''] = await engine.images.layerDirectories(image);
      const [written] = readdirSync(top).filter((name) => name.startsWith('run-'));
      assert.ok(written !== undefined && statSync(join(top, 'big')).size === 8 * 65_536, `${reference} is whole`);
      assert.equal(readFileSync(join(top, written), 'utf8'), written.slice('run-'.length), `${reference} is whole`);
      found.add(reference.replace(/:latest$/, ''));
    }
  return found;
}

/** So that there are ranges and addresses for the next. */
async function clearSome(engine: OpenedEngine, socketPath: string, model: Model): Promise<void> {
  for (const { name } of engine.containers().slice(0, Math.max(0, engine.containers().length - 4))) {
    const answer = await ask(socketPath, 'DELETE', `/containers/${name}?force=1&v=1`);
    assert.equal(answer?.status, 204, answer?.text ?? 'no answer');
    model.containers.delete(name);
  }
  const images = [...model.images.keys()].slice(0, -2);
  for (const reference of images) {
    const answer = await ask(socketPath, 'DELETE', `/images/${encodeURIComponent(reference)}`);
    assert.equal(answer?.status, 200, answer?.text ?? 'no answer');
    model.images.delete(reference);
  }
}

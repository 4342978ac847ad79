/** An engine of a test's own: its directories, ranges and name collide with nobody's, and nothing of it is left. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { layout } from '#engine/containers/layout.ts';
import { exitFiles } from '#engine/containers/purge.ts';
import { tableName as servicesTableName } from '#cluster/network/services/rules.ts';
import { overlap, parseCidr } from '#engine/network/addresses.ts';
import { bridgeName, linkPrefix, tableName } from '#engine/network/names.ts';
import { localPool } from '#engine/network/subnets.ts';
import { type OpenedEngine, openEngine, purgeEngine } from '#engine/open.ts';
import type { EngineOptions } from '#engine/options.ts';
import { overlaps } from '#lib/routes.ts';
import { addBusyboxImage } from './busybox-image.ts';

export interface EngineHost {
  readonly options: EngineOptions;
  readonly engine: OpenedEngine;
  /** A reference to a busybox. */
  readonly image: string;
  /** Closes the engine and opens it again over what is there. */
  reopen(): Promise<void>;
  /** Resolves when the end of each of these containers was written down, while no engine is open. */
  ended(ids: string[]): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** SAMPAN_TEST_RUNTIME names another OCI runtime than runc. */
export function engineOptionsForTest(): EngineOptions {
  const number = randomInt(1, 4000);
  const instance = `test-${process.pid}-${number}`;
  const podCidr = `10.${128 + (number >> 8)}.${number & 255}.0/24`;
  return {
    instance,
    dataDirectory: `/var/tmp/sampan-${instance}`,
    runDirectory: `/run/sampan-${instance}`,
    network: {
      podCidr,
      clusterCidr: podCidr,
      serviceCidr: '10.199.0.0/16',
      networkPool: `100.${64 + (number >> 6)}.${(number & 63) * 4}.0/22`,
    },
    idRange: { first: 65_536 * (1000 + number * 16), length: 65_536 * 16 },
    sandboxPool: 2,
    ...(process.env.SAMPAN_TEST_RUNTIME ? { runtime: process.env.SAMPAN_TEST_RUNTIME } : {}),
    log: (level, message, fields) => {
      if (level === 'error') process.stderr.write(`engine: ${message} ${JSON.stringify(fields ?? {})}\n`);
    },
  };
}

export async function openEngineHost(overrides: Partial<EngineOptions> = {}): Promise<EngineHost> {
  const options = { ...engineOptionsForTest(), ...overrides };
  await mkdir(options.runDirectory, { recursive: true, mode: 0o711 });
  let engine = await openEngine(options);
  const image = await addBusyboxImage(engine.images);
  return {
    options,
    get engine() {
      return engine;
    },
    image,
    async reopen() {
      await engine.close();
      engine = await openEngine(options);
    },
    async ended(ids) {
      const missing = new Set(ids);
      await exitFiles(layout(options).exits, missing, AbortSignal.timeout(30_000));
      assert.deepEqual([...missing], [], 'containers whose end nobody wrote down');
    },
    async [Symbol.asyncDispose]() {
      await engine.close();
      await removeAll(options);
    },
  };
}

/** Purges, and fails where anything is left. */
export async function removeAll(options: EngineOptions): Promise<void> {
  await purgeEngine(options);
  assert.deepEqual(leftovers(options), []);
  rmSync(options.dataDirectory, { recursive: true, force: true });
  rmSync(options.runDirectory, { recursive: true, force: true });
}

/** What there is of an instance on this machine, by name; an empty list after a purge. */
export function leftovers({ instance, dataDirectory, runDirectory, network }: EngineOptions): string[] {
  const found: string[] = [];
  const add = (what: string, isThere: boolean): void => {
    if (isThere) found.push(what);
  };
  const ours = (text: string): boolean => text.includes(dataDirectory) || text.includes(runDirectory);
  for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) add(`mount ${line}`, ours(line));
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) continue;
    try {
      const command = readFileSync(`/proc/${name}/cmdline`, 'latin1').replaceAll('\0', ' ');
      add(`process ${name} ${command}`, ours(command));
      // Dead already, and waiting for the machine's first process to notice.
      if (/^State:\tZ/m.test(readFileSync(`/proc/${name}/status`, 'utf8'))) continue;
      const groups = readFileSync(`/proc/${name}/cgroup`, 'utf8');
      add(`process ${name} in a cgroup`, groups.includes(`/sampan-${instance}/`) && !groups.includes('/monitors'));
    } catch {
      // It ended while we looked.
    }
  }
  for (const line of execFileSync('losetup', ['--list', '--noheadings'], { encoding: 'utf8' }).split('\n')) {
    add(`loop device ${line}`, ours(line));
  }
  const tables = execFileSync('nft', ['list', 'tables'], { encoding: 'utf8' }).split('\n');
  for (const name of [tableName(instance), servicesTableName(instance)])
    add(`nft table ${name}`, tables.includes(`table inet ${name}`));
  for (const prefix of [linkPrefix(instance), bridgeName(instance)]) {
    for (const name of readdirSync('/sys/class/net')) add(`link ${name}`, name.startsWith(prefix));
  }
  const routes = execFileSync('ip', ['-o', 'route'], { encoding: 'utf8' });
  add('route', routes.includes(`unreachable ${network.podCidr}`));
  for (const [, subnet = ''] of routes.matchAll(/^unreachable (\S+\/\d+)/gm))
    add(`route ${subnet}`, network.networkPool !== undefined && overlaps(subnet, network.networkPool));
  const pool = localPool(instance);
  for (const [, subnet = ''] of execFileSync('ip', ['-6', '-o', 'route'], { encoding: 'utf8' }).matchAll(
    /^unreachable (\S+\/\d+)/gm,
  ))
    add(`route ${subnet}`, overlap(parseCidr(subnet), pool));
  for (const root of ['/sys/fs/cgroup', ...readdirSync('/sys/fs/cgroup').map((name) => `/sys/fs/cgroup/${name}`)]) {
    add(`cgroup below ${root}`, existsSync(`${root}/sampan-${instance}`));
  }
  add(`${runDirectory}/engine`, existsSync(`${runDirectory}/engine`));
  add(`${dataDirectory}/engine`, existsSync(`${dataDirectory}/engine`));
  return found;
}

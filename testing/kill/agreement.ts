/** Whether the kernel and the disk have of an instance what its engine says, no more and no less. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { linkPrefix, tableName } from '#engine/network/names.ts';
import type { OpenedEngine } from '#engine/open.ts';
import type { EngineOptions } from '#engine/options.ts';

/**
 * What is there and nobody knows, a line each. The engine makes no sandbox ahead meanwhile (`sandboxPool: 0`), and nobody asks
 * anything of it.
 */
export async function orphans(engine: OpenedEngine, options: EngineOptions): Promise<string[]> {
  await endsAreSeen(engine);
  const found: string[] = [];
  const check = (isKnown: boolean, what: string): void => void (isKnown || found.push(what));
  const run = join(options.runDirectory, 'engine');
  const data = join(options.dataDirectory, 'engine');
  const containers = new Map(engine.containers().map((container) => [container.id, container]));
  // A boot leaves no more of those that are lost than their records.
  const sandboxes = new Set(engine.sandboxes().flatMap(({ id, lost }) => (lost === true ? [] : [id])));
  const records = engine.sandboxes().map(({ id }) => `${id}.json`);
  const files = filesBelow(data, ['upper', 'work', 'fs', '_data']).concat(filesBelow(run, ['rootfs', 'mounts']));
  // With a record, those that are kept ready are known too.
  const whole = new Set(
    namesIn(join(run, 'sandboxes')).filter((id) => existsSync(join(run, 'sandboxes', id, 'sandbox.json'))),
  );
  for (const id of namesIn(join(run, 'sandboxes'))) check(whole.has(id), `sandbox directory ${id} without a record`);
  for (const name of namesIn(join(data, 'sandbox-records'))) check(records.includes(name), `sandbox record ${name}`);
  for (const id of sandboxes) check(whole.has(id), `sandbox ${id} without a directory`);
  for (const name of namesIn('/sys/class/net').filter((link) => link.startsWith(linkPrefix(options.instance))))
    check(
      [...whole].some((id) => name.endsWith(id.slice(0, 8))),
      `link ${name}`,
    );
  for (const directory of [join(run, 'containers'), join(data, 'containers')])
    for (const id of namesIn(directory)) check(containers.has(id), `${directory}/${id}`);
  const isRunning = (id: string): boolean => containers.get(id)?.state === 'running';
  const disks = new Set(engine.diskVolumes.list().flatMap(({ name, mounted }) => (mounted ? [name] : [])));
  for (const directory of [join(run, 'runtime'), join(run, 'exits')])
    for (const id of namesIn(directory)) check(isRunning(id), `${directory}/${id}`);
  for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
    const target = line.split(' ')[4] ?? '';
    if (!target.startsWith(`${options.runDirectory}/`) && !target.startsWith(`${options.dataDirectory}/`)) continue;
    const [, kind, id = ''] = /\/engine\/(containers|sandboxes|disk-volumes)\/([^/]+)/.exec(target) ?? [];
    const known = kind === 'containers' ? containers : kind === 'sandboxes' ? whole : disks;
    check(target === run || known.has(id), `mount ${target}`);
  }
  for (const line of processesOf(options)) {
    const id = /--cid (\S+)/.exec(line)?.[1];
    // A monitor lives on for a moment after it wrote down the end.
    check(id !== undefined && containers.has(id) && containers.get(id)?.state !== 'created', `process ${line}`);
  }
  for (const path of cgroupsOf(options.instance)) {
    const [sandbox = '', container] = path.split('/');
    check(whole.has(sandbox) && (container === undefined || isRunning(container)), `cgroup ${path}`);
  }
  const table = execFileSync('nft', ['list', 'table', 'inet', tableName(options.instance)], { encoding: 'utf8' });
  // No rule leads IPv6 to a sandbox that has none.
  const published = engine
    .sandboxes()
    .flatMap((sandbox) => (sandbox.published ?? []).filter(({ hostIp }) => hostIp !== '::').map(() => sandbox));
  const chain = /chain published \{([^}]*)\}/.exec(table)?.[1] ?? '';
  const rules = [...chain.matchAll(/dnat ip to ([\d.]+)/g)].map(([, ip]) => ip);
  check(rules.length === published.length, `${rules.length} published ports, known are ${published.length}`);
  for (const { id } of published)
    check(
      [...containers.values()].some((container) => container.sandbox === id && container.state === 'running'),
      `published ports of ${id}, where nothing runs`,
    );
  for (const line of execFileSync('losetup', ['--list', '--noheadings'], { encoding: 'utf8' }).split('\n')) {
    const id = /\/containers\/([0-9a-f]{64})\//.exec(line)?.[1] ?? '';
    const disk = /\/disk-volumes\/(\S+)\.(img|scratch)/.exec(line)?.[1] ?? '';
    check(!line.includes(options.dataDirectory) || containers.has(id) || disks.has(disk), `loop device ${line}`);
  }
  for (const file of files) {
    check(!/(\.new$|^\.aside-|^\.new-|\.tmp$)/.test(basename(file)), `temporary file ${file}`);
    check(!file.startsWith(join(data, 'content', 'uploads', '/')), `upload ${file}`);
    check(!file.startsWith(join(run, 'execs', '/')), `exec ${file}`);
  }
  return found;
}

/** Its end may be a moment old: its monitor tells. */
async function endsAreSeen(engine: OpenedEngine): Promise<void> {
  for (const { id, state, pid } of engine.containers()) {
    if (state === 'running' && !existsSync(`/proc/${pid}`))
      await engine.waitContainer(id, { signal: AbortSignal.timeout(60_000) });
  }
}

/** Everything below, but not what lies in directories of the given names: those are of containers and images. */
function filesBelow(directory: string, skipped: string[]): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name);
    if (!entry.isDirectory()) return [path];
    return skipped.includes(entry.name) ? [] : [path, ...filesBelow(path, skipped)];
  });
}

function namesIn(directory: string): string[] {
  return existsSync(directory) ? readdirSync(directory) : [];
}

function processesOf({ runDirectory }: EngineOptions): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ');
        const isZombie = /^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
        return line.includes(`${runDirectory}/`) && !isZombie ? [line] : [];
      } catch {
        return []; // It ended while we looked.
      }
    });
}

/** `sandbox` and `sandbox/container`, of every hierarchy. */
function cgroupsOf(instance: string): string[] {
  const roots = ['/sys/fs/cgroup', ...readdirSync('/sys/fs/cgroup').map((name) => `/sys/fs/cgroup/${name}`)];
  const found = roots
    .map((root) => `${root}/sampan-${instance}`)
    .filter((root) => existsSync(root))
    .flatMap((root) =>
      readdirSync(root, { withFileTypes: true })
        .filter((entry) => entry.isDirectory() && entry.name !== 'monitors')
        .flatMap(({ name }) => [
          name,
          ...readdirSync(join(root, name), { withFileTypes: true })
            .filter((entry) => entry.isDirectory())
            .map((entry) => `${name}/${entry.name}`),
        ]),
    );
  return [...new Set(found)];
}

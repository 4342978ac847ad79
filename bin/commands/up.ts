import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { type ApiChange, type ApiFlags, apiChanges } from '../api-flags.ts';
import { prepareDoors, remoteText } from '../docker-door.ts';
import { HostError } from '../host-error.ts';
import { type Instance, type InstanceFlags, readInstance } from '../instance.ts';
import { lockInstance } from '../instance-lock.ts';
import { prepareInstance } from '../prepare-instance.ts';
import type { NodeFlags } from '../node-flags.ts';
import { keepFlags, keptFlags, mergedFlags } from '../kept-engine-flags.ts';
import { kubeconfigText } from '../kubeconfig-text.ts';
import { checkHost } from '../preflight.ts';
import { writeFileAtomic } from '#lib/atomic-file.ts';
import { Progress } from '#lib/progress.ts';
import { type RouterFlags, routerChanges } from '../router-flags.ts';
import { ensureSecrets } from '../secrets.ts';
import { type Role, roles, startRoles, stopRoles, waitReady } from '../supervise.ts';
import { requireReachable } from '../store/open.ts';
import { untilInterrupted } from '../until-interrupted.ts';
import { type EngineFlags, engineSettings, requirePaths, tcpAddress } from './engine-flags.ts';
import type { NetworkFlags } from './network-options.ts';
import { routerFlagsOf } from './router-options.ts';
import { statusText } from './status.ts';

interface EngineChange extends EngineFlags {
  engineDefaults?: boolean;
}

export interface UpFlags
  extends EngineChange,
    ApiFlags,
    NodeFlags,
    NetworkFlags,
    RouterFlags,
    Pick<
      InstanceFlags,
      'allowHostPath' | 'allowRisk' | 'allowSysctl' | 'allowOutbound' | 'loadBalancerPool' | 'tcpPorts'
    > {
  foreground?: boolean;
}

interface Extent {
  which?: Role[];
  engine?: EngineChange;
  api?: ApiFlags;
  router?: RouterFlags;
}

/** Starts the instance, or some of its roles, or adopts what runs of it. Resolves when it is ready. */
export async function bringUp(flags: InstanceFlags, progress: Progress, extent: Extent = {}): Promise<Instance> {
  await progress.step('checking the machine', (say) => checkHost(flags, say));
  const release = await lockInstance(flags);
  try {
    return await setUp(flags, progress, extent);
  } finally {
    release();
  }
}

async function setUp(
  flags: InstanceFlags,
  progress: Progress,
  { which = roles, engine = {}, api = {}, router = {} }: Extent,
): Promise<Instance> {
  const instance = await progress.step('preparing the instance', async () => {
    const before = readInstance(flags);
    const prepared = await prepareInstance(flags, requireReachable);
    // A server that runs knows only how etcd was reached before, and an agent what its node was then.
    if (!isDeepStrictEqual(prepared.store, before?.store)) await stopRoles(prepared, ['server']);
    if (!isDeepStrictEqual(prepared.node, before?.node)) await stopRoles(prepared, ['agent']);
    if (prepared.tcpPorts !== before?.tcpPorts) await stopRoles(prepared, ['platform']);
    await setFlags(prepared, ['server'], await apiChanges(prepared.dataDirectory, api));
    await setFlags(prepared, ['platform'], routerChanges(prepared.dataDirectory, router));
    await setEngineFlags(prepared, engine);
    ensureSecrets(prepared);
    writeFileSync(join(prepared.dataDirectory, 'kubeconfig'), kubeconfigText(prepared), { mode: 0o600 });
    return prepared;
  });
  await progress.step(`starting the ${which.includes('platform') ? 'platform' : 'cluster'}`, async () => {
    startRoles(instance, which);
    await waitReady(instance, { milliseconds: 300_000, roles: which });
  });
  return instance;
}

/** Roles that run with others end here, and start with the rest. */
async function setFlags(instance: Instance, of: Role[], changes: readonly ApiChange[]): Promise<void> {
  if (changes.length === 0) return;
  await stopRoles(instance, of);
  mkdirSync(join(instance.dataDirectory, 'cluster'), { recursive: true, mode: 0o700 });
  for (const { path, content } of changes)
    if (content === undefined) rmSync(path);
    else await writeFileAtomic(path, content, { mode: 0o600 });
}

/** An agent that runs with others ends here, before they change, and starts with the rest. */
async function setEngineFlags(instance: Instance, { engineDefaults, ...given }: EngineChange): Promise<void> {
  const kept = keptFlags(instance);
  const flags = mergedFlags(engineDefaults === true ? {} : kept, given);
  const { registryAuth: _file, ...checked } = flags;
  const { tcp } = engineSettings(checked);
  if (tcp?.port === 0)
    throw new HostError(
      'invalid-flag',
      'Cannot use port 0 as --tcp of `sampan up`: clients would not know where to ask after a restart.',
      'Give a port, for example --tcp 127.0.0.1:2376.',
    );
  if (await prepareDoors(instance, tcp)) await stopRoles(instance);
  if (isDeepStrictEqual(flags, kept)) return;
  await stopRoles(instance, ['agent']);
  await keepFlags(instance, flags);
}

export async function up(
  flags: InstanceFlags,
  { foreground, ...options }: EngineChange & ApiFlags & RouterFlags & { foreground?: boolean },
): Promise<void> {
  const [router, others] = routerFlagsOf(options);
  const [api, engine] = apart(others);
  requirePaths(engine);
  engineSettings(engine);
  const progress = new Progress();
  const instance = await bringUp(flags, progress, { engine, api, router });
  process.stdout.write(await statusText(instance));
  const { tcp } = keptFlags(instance);
  if (tcp !== undefined) process.stdout.write(remoteText(instance, tcpAddress(tcp)));
  if (foreground !== true) return;
  await untilInterrupted();
  await progress.step('stopping the platform', () => stopRoles(instance));
}

function apart(options: EngineChange & ApiFlags): [ApiFlags, EngineChange] {
  const isApi = ([flag]: [string, unknown]): boolean => flag.startsWith('oidc') || flag.startsWith('audit');
  const all = Object.entries(options);
  return [Object.fromEntries(all.filter(isApi)), Object.fromEntries(all.filter((one) => !isApi(one)))];
}

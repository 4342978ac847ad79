import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ensureCertificates } from '../certificates.ts';
import { type Instance, type InstanceFlags, lockInstance, prepareInstance } from '../instance.ts';
import { kubeconfigText } from '../kubeconfig-text.ts';
import { checkHost } from '../preflight.ts';
import { Progress } from '#lib/progress.ts';
import { ensureSecrets } from '../secrets.ts';
import { type Role, roles, startRoles, stopRoles, waitReady } from '../supervise.ts';
import { requireReachable } from '../store/open.ts';
import { untilInterrupted } from '../until-interrupted.ts';
import { statusText } from './status.ts';

/** Starts the instance, or some of its roles, or adopts what runs of it. Resolves when it is ready. */
export async function bringUp(flags: InstanceFlags, progress: Progress, which = roles): Promise<Instance> {
  await progress.step('checking the machine', (say) => checkHost(flags, say));
  const release = await lockInstance(flags);
  try {
    return await setUp(flags, progress, which);
  } finally {
    release();
  }
}

async function setUp(flags: InstanceFlags, progress: Progress, which: Role[]): Promise<Instance> {
  const instance = await progress.step('preparing the instance', async () => {
    const prepared = await prepareInstance(flags, requireReachable);
    await ensureCertificates(prepared);
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

export async function up(flags: InstanceFlags, options: { foreground?: boolean }): Promise<void> {
  const progress = new Progress();
  const instance = await bringUp(flags, progress);
  process.stdout.write(await statusText(instance));
  if (!options.foreground) return;
  await untilInterrupted();
  await progress.step('stopping the platform', () => stopRoles(instance));
}

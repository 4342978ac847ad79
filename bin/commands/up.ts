import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { once } from 'node:events';
import { ensureCertificates } from '../certificates.ts';
import { type Instance, type InstanceFlags, lockInstance, prepareInstance } from '../instance.ts';
import { kubeconfigText } from '../kubeconfig-text.ts';
import { checkHost } from '../preflight.ts';
import { Progress } from '#lib/progress.ts';
import { ensureSecrets } from '../secrets.ts';
import { startRoles, stopRoles, waitReady } from '../supervise.ts';
import { statusText } from './status.ts';

/** Starts the instance, or adopts what runs of it. Resolves when it is ready. */
export async function bringUp(flags: InstanceFlags, progress: Progress): Promise<Instance> {
  await progress.step('checking the machine', (say) => checkHost(flags, say));
  const release = await lockInstance(flags);
  try {
    return await setUp(flags, progress);
  } finally {
    release();
  }
}

async function setUp(flags: InstanceFlags, progress: Progress): Promise<Instance> {
  const instance = await progress.step('preparing the instance', async () => {
    const prepared = await prepareInstance(flags);
    await ensureCertificates(prepared);
    ensureSecrets(prepared);
    writeFileSync(join(prepared.dataDirectory, 'kubeconfig'), kubeconfigText(prepared), { mode: 0o600 });
    return prepared;
  });
  await progress.step('starting the platform', async () => {
    startRoles(instance);
    await waitReady(instance, { milliseconds: 300_000 });
  });
  return instance;
}

export async function up(flags: InstanceFlags, options: { foreground?: boolean }): Promise<void> {
  const progress = new Progress();
  const instance = await bringUp(flags, progress);
  process.stdout.write(await statusText(instance));
  if (!options.foreground) return;
  await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]);
  await progress.step('stopping the platform', () => stopRoles(instance));
}

/** `sampan engine fsck`: checks what the engine keeps, and mends it. */
import { fsck } from '#engine/fsck/check.ts';
import { type FsckOptions, type FsckReport, fsckExitStatus } from '#engine/fsck/fsck.ts';
import { engineOptions } from '../engine-options.ts';
import { HostError } from '../host-error.ts';
import { type InstanceFlags, instanceDirectories, readInstance } from '../instance.ts';
import { requireRoot } from '../preflight.ts';

export async function engineFsck(flags: InstanceFlags, options: { repair?: boolean; json?: boolean }): Promise<void> {
  requireRoot('Checking what the engine keeps');
  const instance = readInstance(flags);
  if (!instance) {
    const { name, dataDirectory } = instanceDirectories(flags);
    throw new HostError(
      'no-instance',
      `There is no Sampan instance ${JSON.stringify(name)} in ${dataDirectory}.`,
      'Name another with --name and --data.',
    );
  }
  const interrupted = new AbortController();
  process.once('SIGINT', () => interrupted.abort(new Error('interrupted; the next check goes on where this one was')));
  const report = await checked({
    engine: engineOptions(instance),
    repair: options.repair === true,
    signal: interrupted.signal,
    ...(process.stderr.isTTY && options.json !== true ? { onProgress: showProgress } : {}),
  });
  if (report === undefined) return;
  process.stdout.write(options.json === true ? `${JSON.stringify(report, null, 2)}\n` : text(report));
  process.exitCode = fsckExitStatus(report);
}

/** As fsck(8): 8 where the check itself could not be done, which 1 would say otherwise of. */
async function checked(options: FsckOptions): Promise<FsckReport | undefined> {
  try {
    return await fsck(options);
  } catch (error) {
    process.stderr.write(`sampan: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 8;
    return undefined;
  }
}

function showProgress({ bytes, totalBytes }: { bytes: number; totalBytes: number }): void {
  const percent = totalBytes === 0 ? 100 : Math.floor((bytes / totalBytes) * 100);
  process.stderr.write(`\rreading blobs: ${percent} %${bytes === totalBytes ? '\n' : ''}`);
}

function text({ checked, resumed, problems, collected }: FsckReport): string {
  const lines = problems.map(
    ({ kind, what, detail, mended }) => `${kind} ${what}: ${detail}${mended === undefined ? '' : ` (${mended})`}`,
  );
  const counts = Object.entries(checked).map(([what, count]) => `${count} ${what}`);
  lines.push(`checked ${counts.join(', ')}${resumed > 0 ? `; ${resumed} blobs were good already` : ''}`);
  if (collected !== undefined) lines.push(`collected ${collected.blobs} blobs, ${collected.bytes} bytes`);
  const left = problems.filter(({ mended }) => mended === undefined).length;
  if (problems.length === 0) lines.push('nothing is wrong');
  else if (left === 0) lines.push(`${problems.length} problems, all mended`);
  else lines.push(`${problems.length} problems, ${left} left; sampan engine fsck --repair mends what it can`);
  return `${lines.join('\n')}\n`;
}

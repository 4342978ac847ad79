/** The conmon processes: which one is a container's, and where they stand. */
import { readFile, writeFile } from 'node:fs/promises';
import type { EngineOptions } from '../options.ts';
import { hasCode } from '../sys/libc.ts';
import type { Cgroups } from './cgroups.ts';
import { pidOf } from './conmon.ts';
import { type Layout, containerPaths } from './layout.ts';

export async function isMonitor(pid: number | undefined, id: string): Promise<boolean> {
  return pid !== undefined && (await readFile(`/proc/${pid}/cmdline`, 'latin1').catch(() => '')).includes(id);
}

export interface MonitorRooms {
  layout: Layout;
  cgroups: Cgroups;
  log: NonNullable<EngineOptions['log']>;
}

/** Not waited for: the kernel takes milliseconds to move a process between cgroups, and nothing of the start depends on it. */
export function adoptMonitor({ layout, cgroups, log }: MonitorRooms, id: string): void {
  pidOf(containerPaths(layout, id).conmonPid)
    .then(async (pid) => {
      if (pid === undefined) return;
      await cgroups.adoptHelper(pid);
      // Without it nobody would learn how the container ended. A host that keeps CAP_SYS_RESOURCE from us refuses this.
      await writeFile(`/proc/${pid}/oom_score_adj`, '-999').catch((error: unknown) => {
        if (!hasCode(error, 'EACCES', 'EPERM')) throw error;
      });
    })
    .catch((error: unknown) =>
      hasCode(error, 'ENOENT', 'ESRCH')
        ? undefined
        : log('warn', 'cannot move a monitor into its own cgroup', { container: id, error: String(error) }),
    );
}

/** What a boot of the machine does to an engine that is not open: processes, mounts, links, rules, cgroups and /run are gone. */
import { rmSync } from 'node:fs';
import { layout } from '#engine/containers/layout.ts';
import { takeDown } from '#engine/containers/purge.ts';
import type { EngineOptions } from '#engine/options.ts';

export async function simulateBoot(options: EngineOptions): Promise<void> {
  // Monitors are killed first, so none of them writes down how its container ended: as when the power fails.
  await takeDown(options, () => {});
  rmSync(layout(options).run, { recursive: true, force: true });
}

/**
 * Containers by crun, on a machine of cgroup v2, which is all that it knows: Debian's package in an emulated machine.
 *
 *   npm run test:long -- crun      the variables that testing/fresh-machine/boot.ts tells of hold
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { test } from 'node:test';
import { bootMachine, progress, whyNoMachine } from '#testing/fresh-machine/boot.ts';

test("the engine's tests pass with crun", { timeout: 5_400_000, skip: whyNoMachine() }, async () => {
  const directory = mkdtempSync('/var/tmp/sampan-crun-');
  const machine = await bootMachine(directory, progress);
  try {
    await machine.must('cd /opt/sampan; ./sampan doctor --fix', 1800);
    await machine.must('apt-get install -y --no-install-recommends crun', 600);
    const output = await machine.must(
      'cd /opt/sampan; SAMPAN_TEST_RUNTIME=crun ./sampan test engine/containers engine/docker-api/run.test.ts engine/docker-api/lifecycle',
      3600,
    );
    assert.match(output, /^[1-9]\d* passed, 0 failed, \d+ skipped$/m);
    // crun of Debian 12 gives its owner away.
    assert.match(await machine.must("stat -c '%u %g %a' /dev/null"), /^0 0 666\s*$/);
  } finally {
    await machine.close();
    rmSync(directory, { recursive: true, force: true });
  }
});

/** An engine that is killed while it makes, grows and removes disk volumes. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { on, once } from 'node:events';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { openEngineHost } from '#testing/engine-host.ts';
import { openEngine } from '../open.ts';
import { layout } from './layout.ts';

const loopsOf = (file: string): number =>
  execFileSync('losetup', ['--noheadings', '--associated', file], { encoding: 'utf8' }).split('\n').length - 1;

test('killed at any moment, each volume is there whole or not at all', { timeout: 300_000 }, async () => {
  await using host = await openEngineHost({ sandboxPool: 0 });
  const { log: _log, ...plain } = host.options;
  const chaos = fileURLToPath(new URL('../../testing/disk-volumes-chaos.ts', import.meta.url));
  await host.engine.close();
  for (let round = 0; round < 20; round += 1) {
    const child = spawn(process.execPath, ['--experimental-ffi', chaos, JSON.stringify(plain)], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const steps = on(createInterface({ input: child.stdout }), 'line');
    for (let wanted = randomInt(1, 12); wanted > 0; wanted -= 1) await steps.next();
    // Somewhere within the step: the moment is the random part of the test; nothing is waited for.
    await delay(randomInt(80));
    child.kill('SIGKILL');
    await once(child, 'close');
    const engine = await openEngine(host.options);
    for (const { name, sizeBytes, kind, mounted } of engine.diskVolumes.list()) {
      if (kind === 'block') {
        const file = join(layout(host.options).diskVolumesData, `${name}.block`);
        assert.equal(statSync(file).size, sizeBytes);
        assert.equal(loopsOf(file), mounted ? 1 : 0);
        await engine.diskVolumes.mount({ name, sizeBytes, kind });
        assert.equal(loopsOf(file), 1, 'the one that it had, or a new one');
        if (randomInt(2) === 0) await engine.diskVolumes.unmount(name);
        if (randomInt(2) === 0) await engine.diskVolumes.remove(name);
        continue;
      }
      const { path } = await engine.diskVolumes.mount({ name, sizeBytes });
      const file = join(path, 'name');
      assert.ok(!existsSync(file) || ['', name].includes(readFileSync(file, 'utf8')), name);
      writeFileSync(join(path, 'after'), 'it can be written');
      await engine.diskVolumes.unmount(name);
      execFileSync('e2fsck', ['-f', '-n', join(layout(host.options).diskVolumesData, `${name}.img`)], {
        stdio: 'pipe',
        env: { ...process.env, PATH: `${process.env['PATH']}:/sbin:/usr/sbin` },
      });
      if (randomInt(2) === 0) await engine.diskVolumes.remove(name);
    }
    await engine.close();
  }
  await host.reopen();
  for (const { name } of host.engine.diskVolumes.list()) await host.engine.diskVolumes.remove(name);
});

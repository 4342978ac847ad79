/**
 * The engine's contract as tests: what every implementation of `engine/engine.ts` does, on a real kernel with a real runtime.
 * The factory opens one engine, which all tests share, apart by sandbox.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { engineBed, type EngineUnderTest, rejects } from './engine-contract/bed.ts';
import { containerContract } from './engine-contract/containers.ts';
import { sandboxContract } from './engine-contract/sandboxes.ts';
import { streamContract } from './engine-contract/streams.ts';

export function engineContract(name: string, open: () => Promise<EngineUnderTest>): void {
  describe(`${name} keeps the engine's contract`, { timeout: 600_000 }, () => {
    const bed = engineBed(open);
    const { sandbox, create, start, linesOf, firstLine } = bed;
    containerContract(bed);
    sandboxContract(bed);
    streamContract(bed);

    describe('watching', () => {
      it('tells of every change, in order', async () => {
        const controller = new AbortController();
        const events = bed.engine.events({ signal: controller.signal });
        const { id } = await sandbox();
        const container = await start({ sandbox: id, command: ['true'] });
        await bed.engine.waitContainer(container.id);
        await bed.engine.removeSandbox(id);
        controller.abort();
        const types = (await Array.fromAsync(events)).filter((event) => event.sandbox === id).map(({ type }) => type);
        assert.deepEqual(types, [
          'sandbox-created',
          'container-created',
          'container-started',
          'container-exited',
          'container-removed',
          'sandbox-removed',
        ]);
      });

      it('measures what a container uses', async () => {
        const { id } = await sandbox();
        const limits = { memoryBytes: 64 * 1024 * 1024, diskBytes: 16 * 1024 * 1024 };
        const container = await start({
          sandbox: id,
          command: ['sh', '-c', 'dd if=/dev/zero of=/big bs=1M count=4 2>/dev/null; echo ready; sleep 60'],
          limits,
        });
        await firstLine(container.id);
        const stats = await bed.engine.stats(container.id);
        assert.equal(stats.memoryLimitBytes, limits.memoryBytes);
        assert.ok(stats.cpuNanos > 0 && stats.memoryBytes > 0 && stats.pids >= 1, JSON.stringify(stats));
        assert.ok(stats.diskBytes >= 4 * 1024 * 1024, JSON.stringify(stats));
        await bed.engine.removeSandbox(id);
        await rejects(bed.engine.stats(container.id), 'not-found');
      });
    });

    describe('an engine that is opened again', () => {
      it('adopts what runs, and learns how things ended meanwhile', async () => {
        const { id, ip } = await sandbox();
        const runs = await start({ sandbox: id, name: 'runs', command: ['sh', '-c', 'echo before; sleep 60'] });
        const ends = await start({ sandbox: id, name: 'ends', command: ['sh', '-c', 'sleep 0.3; exit 9'] });
        const waits = await create({ sandbox: id, name: 'waits', command: ['sh', '-c', 'exit 8'] });
        const pid = bed.engine.container(runs.id)?.pid;
        await bed.reopen();
        assert.equal(bed.engine.sandbox(id)?.ip, ip);
        assert.deepEqual(bed.engine.container(runs.id)?.pid, pid);
        assert.equal(bed.engine.container(runs.id)?.state, 'running');
        assert.equal((await bed.engine.waitContainer(ends.id)).code, 9);
        await bed.engine.startContainer(waits.id);
        assert.equal((await bed.engine.waitContainer(waits.id)).code, 8);
        assert.deepEqual(await linesOf(runs.id), ['before']);
        const session = await bed.engine.exec(runs.id, { command: ['echo', 'still here'] });
        assert.equal(Buffer.concat(await session.stdout.toArray()).toString(), 'still here\n');
        await bed.engine.stopContainer(runs.id, { graceSeconds: 0 });
        await bed.engine.removeSandbox(id);
      });
    });
  });
}

/** The second half of the engine's contract (`engine/verbs.ts`) as tests: pause, rename, update, usage, files. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Cgroups } from '#engine/containers/cgroups.ts';
import { freeze } from '#engine/containers/freezer.ts';
import type { Container, ContainerSpec, Engine } from '#engine/engine.ts';
import type { EngineOptions } from '#engine/options.ts';
import type { ContainerVerbs } from '#engine/verbs.ts';
import { readTar } from '#lib/tar/read.ts';
import { type TarInput, writeTar } from '#lib/tar/write.ts';
import { engineBed, type EngineUnderTest } from './engine-contract/bed.ts';
import { until } from './until.ts';

export interface VerbsUnderTest extends EngineUnderTest {
  readonly engine: Engine & ContainerVerbs;
  readonly options: EngineOptions;
}

export function engineVerbsContract(name: string, open: () => Promise<VerbsUnderTest>): void {
  describe(`${name} keeps the engine's contract for verbs`, { timeout: 600_000 }, () => {
    const bed = engineBed(open);
    const create = async (spec: Partial<ContainerSpec>): Promise<Container> => {
      const { id } = await bed.sandbox();
      return await bed.create({ ...spec, sandbox: id });
    };
    const start = async (spec: Partial<ContainerSpec> = { command: ['sleep', '1000'] }): Promise<Container> => {
      const container = await create(spec);
      await bed.engine.startContainer(container.id);
      return container;
    };
    const isPaused = (id: string): boolean => bed.engine.container(id)?.paused === true;

    it('pauses, stays paused, and lets go on; what ends it lets it go on too', async () => {
      const { id, sandbox } = await start();
      const { engine } = bed;
      const told: string[] = [];
      const listening = new AbortController();
      const events = engine.events({ signal: listening.signal });
      await assert.rejects(engine.unpauseContainer(id), { code: 'conflict' });
      await engine.pauseContainer(id);
      assert.ok(isPaused(id));
      assert.equal(engine.container(id)?.state, 'running');
      await assert.rejects(engine.pauseContainer(id), { code: 'conflict' });
      await assert.rejects(engine.exec(id, { command: ['true'] }), { code: 'conflict' });
      await engine.unpauseContainer(id);
      assert.ok(!isPaused(id));
      assert.equal((await (await engine.exec(id, { command: ['true'] })).exited).code, 0);
      listening.abort();
      for await (const { type } of events) told.push(type);
      assert.deepEqual(told, ['container-paused', 'container-unpaused']);
      await engine.pauseContainer(id);
      await bed.reopen();
      assert.ok(isPaused(id));
      await bed.engine.stopContainer(id, { graceSeconds: 0 });
      assert.deepEqual([bed.engine.container(id)?.state, isPaused(id)], ['exited', false]);
      await assert.rejects(bed.engine.pauseContainer(id), { code: 'conflict' });
      await bed.engine.removeSandbox(sandbox);
    });

    it('finds out what an engine froze that was killed before it could say so', async () => {
      const { id, sandbox } = await start();
      const cgroups = new Cgroups(bed.under.options.instance);
      await freeze(cgroups, cgroups.path(sandbox, id));
      await bed.reopen();
      assert.ok(isPaused(id));
      await bed.engine.removeSandbox(sandbox);
    });

    it('renames, each name once in a sandbox', async () => {
      const first = await create({});
      const { engine } = bed;
      const second = await engine.createContainer({ sandbox: first.sandbox, name: 'other', image: bed.under.image });
      await assert.rejects(engine.renameContainer(first.id, 'other'), { code: 'conflict' });
      await engine.renameContainer(first.id, 'renamed');
      await engine.renameContainer(second.id, 'main');
      await assert.rejects(engine.renameContainer('none', 'x'), { code: 'not-found' });
      await bed.reopen();
      assert.deepEqual(
        [bed.engine.container(first.id)?.name, bed.engine.container(second.id)?.name],
        ['renamed', 'main'],
      );
      await bed.engine.removeSandbox(first.sandbox);
    });

    it('changes limits at once and for the next start, or not at all', async () => {
      const { id, sandbox } = await start({ command: ['sleep', '1000'], limits: { memoryBytes: 32 * 1024 * 1024 } });
      const { engine } = bed;
      await engine.updateContainer(id, { limits: { memoryBytes: 48 * 1024 * 1024, pids: 33, cpuMillis: 200 } });
      const held = async (): Promise<unknown> => {
        const { memory, processes } = await bed.engine.usage(id);
        return [memory.limitBytes, processes.limit];
      };
      assert.deepEqual(await held(), [48 * 1024 * 1024, 33]);
      await assert.rejects(engine.updateContainer(id, { limits: { memoryBytes: 1 } }), { code: 'invalid' });
      assert.equal(engine.container(id)?.spec.limits?.memoryBytes, 48 * 1024 * 1024);
      await engine.stopContainer(id, { graceSeconds: 0 });
      await engine.updateContainer(id, { limits: { pids: 44 }, labels: { a: 'b' } });
      await bed.reopen();
      await bed.engine.startContainer(id, { again: true });
      assert.deepEqual(await held(), [48 * 1024 * 1024, 44]);
      assert.deepEqual(bed.engine.container(id)?.labels, { a: 'b' });
      await bed.engine.removeSandbox(sandbox);
    });

    it('tells processes and usage, as the container counts', async () => {
      const { id, sandbox } = await start({ command: ['sh', '-c', 'while :; do :; done'], user: '1000' });
      const { engine } = bed;
      // The runtime's own process becomes the container's in the kernel's time.
      await until(async () => (await engine.processes(id))[0]?.name === 'sh');
      const [process] = await engine.processes(id);
      assert.equal(process?.uid, 1000);
      const before = await engine.usage(id);
      while ((await engine.usage(id)).cpu.totalNanos === before.cpu.totalNanos);
      const { cpu, memory, networks } = await engine.usage(id);
      assert.ok(cpu.hostNanos > cpu.totalNanos && cpu.onlineCpus > 0 && memory.bytes > 0);
      assert.deepEqual(Object.keys(networks), ['eth0']);
      await engine.stopContainer(id, { graceSeconds: 0 });
      await assert.rejects(engine.usage(id), { code: 'conflict' });
      await assert.rejects(engine.processes(id), { code: 'conflict' });
      assert.ok((await engine.diskUse(id)) >= 0);
      await engine.removeSandbox(sandbox);
    });

    it('reads and writes files, running or not, inside the root', async () => {
      const { id, sandbox } = await create({ command: ['sleep', '1000'] });
      const { engine } = bed;
      const entry: TarInput = {
        name: 'f',
        type: 'file',
        mode: 0o640,
        uid: 5,
        gid: 6,
        mtimeSeconds: 9,
        sizeBytes: 2,
        data: Buffer.from('hi'),
      };
      for (const state of ['created', 'running']) {
        if (state === 'running') await engine.startContainer(id);
        await engine.writeArchive(id, '/tmp', writeTar([entry]), { keepKinds: true });
        const { stat, archive } = await engine.readArchive(id, '/tmp/f');
        assert.deepEqual([stat.name, stat.type, stat.mode, stat.sizeBytes], ['f', 'file', 0o640, 2]);
        for await (const { uid, gid, mtimeSeconds, data } of readTar(archive))
          assert.deepEqual(
            [uid, gid, mtimeSeconds, Buffer.concat(await Array.fromAsync(data())).toString()],
            [5, 6, 9, 'hi'],
          );
        await assert.rejects(engine.statPath(id, '/none'), { code: 'not-found' });
        await assert.rejects(engine.writeArchive(id, '/none', writeTar([entry])), { code: 'not-found' });
        await assert.rejects(engine.writeArchive(id, '/tmp', writeTar([{ ...entry, name: '../f' }])), {
          code: 'invalid',
        });
        await assert.rejects(engine.writeArchive(id, '/tmp/f', writeTar([entry])), { code: 'invalid' });
      }
      const aborted = new AbortController();
      aborted.abort(new Error('enough'));
      await assert.rejects(engine.writeArchive(id, '/tmp', writeTar([entry]), { signal: aborted.signal }), /enough/);
      await engine.removeSandbox(sandbox);
    });
  });
}

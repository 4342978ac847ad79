/** The engine's contract as tests, where only the Docker API needs it: running again, standard input, terminals, ports. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { engineBed, type EngineUnderTest } from './engine-contract/bed.ts';

export function engineDockerContract(name: string, open: () => Promise<EngineUnderTest>): void {
  describe(`${name} keeps the engine's contract for Docker's verbs`, { timeout: 600_000 }, () => {
    const bed = engineBed(open);
    const { sandbox, create, start, linesOf } = bed;

    describe('what Docker adds', () => {
      it('runs an ended container again on what it wrote, and only when that is asked for', async () => {
        const { id } = await sandbox();
        const script = 'echo run >> /var/runs; cat /var/runs | wc -l; exit 4';
        const container = await start({ sandbox: id, command: ['sh', '-c', script] });
        assert.equal((await bed.engine.waitContainer(container.id)).code, 4);
        await assert.rejects(bed.engine.startContainer(container.id), { code: 'conflict' });
        await bed.reopen();
        await bed.engine.startContainer(container.id, { again: true });
        assert.equal((await bed.engine.waitContainer(container.id)).code, 4);
        assert.deepEqual(await linesOf(container.id), ['1', '2']);
        await bed.engine.removeSandbox(id);
      });

      it('takes input, also after the engine was opened again, and its end', async () => {
        const { id } = await sandbox();
        const container = await start({ sandbox: id, command: ['cat'], stdin: true });
        const input = await bed.engine.attachInput(container.id);
        await new Promise<void>((resolve) => {
          input.write('one\n', () => resolve());
        });
        input.destroy();
        await bed.reopen();
        (await bed.engine.attachInput(container.id)).end('two\n');
        assert.equal((await bed.engine.waitContainer(container.id)).code, 0);
        assert.deepEqual(await linesOf(container.id), ['one', 'two']);
        await assert.rejects(bed.engine.attachInput(container.id), { code: 'conflict' });
        await bed.engine.removeSandbox(id);
      });

      it('resizes a terminal, and tells raw pieces of the log as they were written', async () => {
        const { id } = await sandbox();
        const command = ['sh', '-c', 'printf "> "; read line; stty size'];
        const container = await start({ sandbox: id, command, tty: true, stdin: true });
        let said = '';
        for await (const { line } of bed.engine.logs(container.id, { follow: true, raw: true })) {
          said += line.toString();
          if (said !== '> ') continue;
          await bed.engine.resizeContainer(container.id, { columns: 91, rows: 17 });
          (await bed.engine.attachInput(container.id)).write('go\n');
        }
        assert.equal(said, '> go\r\n17 91\r\n');
        await assert.rejects(bed.engine.resizeContainer(container.id, { columns: 1, rows: 1 }), { code: 'conflict' });
        await bed.engine.removeSandbox(id);
      });

      it('publishes ports of this host, each to one sandbox', async () => {
        const { id } = await sandbox();
        const other = await sandbox();
        const port = { hostIp: '127.0.0.1', hostPort: 0, port: 8080, protocol: 'tcp' } as const;
        const [published] = await bed.engine.publishPorts(id, [port]);
        assert.ok(published !== undefined && published.hostPort > 0);
        await assert.rejects(bed.engine.publishPorts(other.id, [published]), { code: 'conflict' });
        await assert.rejects(bed.engine.publishPorts(id, [{ ...port, port: 0 }]), { code: 'invalid' });
        await bed.reopen();
        assert.deepEqual(bed.engine.sandbox(id)?.published, [published]);
        const script = 'echo hello > /tmp/f; exec httpd -f -p 8080 -h /tmp';
        await start({ sandbox: id, command: ['sh', '-c', script] });
        for (let body = ''; body !== 'hello\n'; )
          body = await fetch(`http://127.0.0.1:${published.hostPort}/f`).then(
            async (response) => await response.text(),
            () => '',
          );
        await bed.engine.publishPorts(id, []);
        await bed.engine.publishPorts(other.id, [published]);
        await bed.engine.removeSandbox(id);
        await bed.engine.removeSandbox(other.id);
      });

      it('takes an id that was drawn ahead, shared memory and resource limits', async () => {
        const { id } = await sandbox();
        const drawn = 'ab'.repeat(32);
        const container = await start({
          sandbox: id,
          id: drawn,
          command: ['sh', '-c', 'ulimit -n; df -k /dev/shm | tail -1 | tr -s " " | cut -d" " -f2'],
          sharedMemoryBytes: 1024 * 1024,
          resourceLimits: [{ name: 'nofile', soft: 64, hard: 128 }],
        });
        assert.equal(container.id, drawn);
        await bed.engine.waitContainer(drawn);
        assert.deepEqual(await linesOf(drawn), ['64', '1024']);
        for (const wrong of [{ id: drawn }, { id: 'x' }, { resourceLimits: [{ name: 'luck', soft: 1, hard: 1 }] }])
          await assert.rejects(create({ sandbox: id, name: 'wrong', ...wrong }), { code: 'invalid' });
        await bed.engine.removeSandbox(id);
      });
    });
  });
}

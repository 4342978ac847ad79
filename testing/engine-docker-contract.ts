/** The engine's contract as tests, where only the Docker API needs it: running again, standard input, terminals, ports. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Container, ContainerSpec, Engine, LogOptions, Sandbox } from '#engine/engine.ts';
import type { EngineUnderTest } from './engine-contract.ts';

export function engineDockerContract(name: string, open: () => Promise<EngineUnderTest>): void {
  describe(`${name} keeps the engine's contract for Docker's verbs`, { timeout: 600_000 }, () => {
    let under: EngineUnderTest;
    let count = 0;
    before(async () => {
      under = await open();
    });
    after(async () => {
      await under[Symbol.asyncDispose]();
    });

    const sandbox = async (spec: { egress?: 'cluster' | 'internet'; hostname?: string } = {}): Promise<Sandbox> => {
      count += 1;
      return await under.engine.createSandbox({ name: `test/${count}`, hostname: 'host-a', ...spec });
    };
    const create = async (spec: Partial<ContainerSpec> & { sandbox: string }): Promise<Container> =>
      await under.engine.createContainer({ name: 'main', image: under.image, ...spec });
    const start = async (spec: Partial<ContainerSpec> & { sandbox: string }): Promise<Container> => {
      const container = await create(spec);
      await under.engine.startContainer(container.id);
      return container;
    };
    describe('what Docker adds', () => {
      it('runs an ended container again on what it wrote, and only when that is asked for', async () => {
        const { id } = await sandbox();
        const script = 'echo run >> /var/runs; cat /var/runs | wc -l; exit 4';
        const container = await start({ sandbox: id, command: ['sh', '-c', script] });
        assert.equal((await under.engine.waitContainer(container.id)).code, 4);
        await assert.rejects(under.engine.startContainer(container.id), { code: 'conflict' });
        await under.reopen();
        await under.engine.startContainer(container.id, { again: true });
        assert.equal((await under.engine.waitContainer(container.id)).code, 4);
        assert.deepEqual(await linesOf(under.engine, container.id), ['1', '2']);
        await under.engine.removeSandbox(id);
      });

      it('takes input, also after the engine was opened again, and its end', async () => {
        const { id } = await sandbox();
        const container = await start({ sandbox: id, command: ['cat'], stdin: true });
        const input = await under.engine.attachInput(container.id);
        await new Promise<void>((resolve) => {
          input.write('one\n', () => resolve());
        });
        input.destroy();
        await under.reopen();
        (await under.engine.attachInput(container.id)).end('two\n');
        assert.equal((await under.engine.waitContainer(container.id)).code, 0);
        assert.deepEqual(await linesOf(under.engine, container.id), ['one', 'two']);
        await assert.rejects(under.engine.attachInput(container.id), { code: 'conflict' });
        await under.engine.removeSandbox(id);
      });

      it('resizes a terminal, and tells raw pieces of the log as they were written', async () => {
        const { id } = await sandbox();
        const command = ['sh', '-c', 'printf "> "; read line; stty size'];
        const container = await start({ sandbox: id, command, tty: true, stdin: true });
        let said = '';
        for await (const { line } of under.engine.logs(container.id, { follow: true, raw: true })) {
          said += line.toString();
          if (said !== '> ') continue;
          await under.engine.resizeContainer(container.id, { columns: 91, rows: 17 });
          (await under.engine.attachInput(container.id)).write('go\n');
        }
        assert.equal(said, '> go\r\n17 91\r\n');
        await assert.rejects(under.engine.resizeContainer(container.id, { columns: 1, rows: 1 }), { code: 'conflict' });
        await under.engine.removeSandbox(id);
      });

      it('publishes ports of this host, each to one sandbox', async () => {
        const { id } = await sandbox();
        const other = await sandbox();
        const port = { hostIp: '127.0.0.1', hostPort: 0, port: 8080, protocol: 'tcp' } as const;
        const [published] = await under.engine.publishPorts(id, [port]);
        assert.ok(published !== undefined && published.hostPort > 0);
        await assert.rejects(under.engine.publishPorts(other.id, [published]), { code: 'conflict' });
        await assert.rejects(under.engine.publishPorts(id, [{ ...port, port: 0 }]), { code: 'invalid' });
        await under.reopen();
        assert.deepEqual(under.engine.sandbox(id)?.published, [published]);
        const script = 'echo hello > /tmp/f; exec httpd -f -p 8080 -h /tmp';
        await start({ sandbox: id, command: ['sh', '-c', script] });
        for (let body = ''; body !== 'hello\n'; )
          body = await fetch(`http://127.0.0.1:${published.hostPort}/f`).then(
            async (response) => await response.text(),
            () => '',
          );
        await under.engine.publishPorts(id, []);
        await under.engine.publishPorts(other.id, [published]);
        await under.engine.removeSandbox(id);
        await under.engine.removeSandbox(other.id);
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
        await under.engine.waitContainer(drawn);
        assert.deepEqual(await linesOf(under.engine, drawn), ['64', '1024']);
        for (const wrong of [{ id: drawn }, { id: 'x' }, { resourceLimits: [{ name: 'luck', soft: 1, hard: 1 }] }])
          await assert.rejects(create({ sandbox: id, name: 'wrong', ...wrong }), { code: 'invalid' });
        await under.engine.removeSandbox(id);
      });
    });
  });
}

async function linesOf(engine: Engine, id: string, options: LogOptions = {}): Promise<string[]> {
  return (await Array.fromAsync(engine.logs(id, options))).map(({ line }) => line.toString());
}

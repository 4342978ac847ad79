/** What goes in and out of containers: execs and logs. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { LogOptions } from '#engine/engine.ts';
import { type EngineBed, rejects } from './bed.ts';

export function streamContract(bed: EngineBed): void {
  const { sandbox, create, start, shell, linesOf } = bed;

  describe('exec', () => {
    it('has the exit status, both outputs, and standard input that ends', async () => {
      const { id } = await sandbox();
      const container = await start({ sandbox: id, command: ['sleep', '60'], env: ['MINE=yes'] });
      const session = await bed.engine.exec(container.id, {
        command: ['sh', '-c', 'cat; echo $MINE $OTHER >&2; id -u; exit 42'],
        stdin: true,
        env: ['OTHER=too'],
        user: 'app',
      });
      session.stdin?.end('hello\n');
      const [out, err, exit] = await Promise.all([session.stdout.toArray(), session.stderr?.toArray(), session.exited]);
      assert.equal(Buffer.concat(out).toString(), 'hello\n1000\n');
      assert.equal(Buffer.concat(err ?? []).toString(), 'yes too\n');
      assert.equal(exit.code, 42);
      await rejects(bed.engine.exec(container.id, { command: ['no-such-program'] }), 'invalid');
      await bed.engine.removeSandbox(id);
    });

    it('has a terminal that can be resized', async () => {
      const { id } = await sandbox();
      const container = await start({ sandbox: id, command: ['sleep', '60'] });
      const script = 'stty size; trap "stty size; exit 9" WINCH; echo ready; while :; do sleep 0.1; done';
      const session = await bed.engine.exec(container.id, {
        command: ['sh', '-c', script],
        tty: true,
        size: { columns: 100, rows: 30 },
      });
      let text = '';
      for await (const chunk of session.stdout) {
        const wasReady = text.includes('ready');
        text += String(chunk);
        if (!wasReady && text.includes('ready')) session.resize({ columns: 101, rows: 31 });
      }
      assert.deepEqual(text.split('\r\n'), ['30 100', 'ready', '31 101', '']);
      assert.equal((await session.exited).code, 9);
      const input = await bed.engine.exec(container.id, { command: ['sh'], tty: true, stdin: true });
      input.stdin?.end('echo $((6 * 7)); exit 4\n');
      const out = Buffer.concat(await input.stdout.toArray()).toString();
      assert.match(out, /42/);
      assert.equal((await input.exited).code, 4);
      await bed.engine.removeSandbox(id);
    });

    it('can be killed, and ends with its container', async () => {
      const { id } = await sandbox();
      const container = await start({ sandbox: id, command: ['sleep', '60'] });
      const killed = await bed.engine.exec(container.id, { command: ['sleep', '60'] });
      killed.stdout.resume();
      killed.stderr?.resume();
      killed.kill();
      assert.equal((await killed.exited).code, 137);
      const orphan = await bed.engine.exec(container.id, { command: ['sleep', '60'] });
      orphan.stdout.resume();
      orphan.stderr?.resume();
      await bed.engine.stopContainer(container.id, { graceSeconds: 0 });
      assert.notEqual((await orphan.exited).code, 0);
      await rejects(bed.engine.exec(container.id, { command: ['true'] }), 'conflict');
      await bed.engine.removeSandbox(id);
    });
  });

  describe('logs', () => {
    it('takes what a program writes to its outputs by name, root or not', async () => {
      for (const user of ['0', '1000']) {
        const { lines } = await shell('echo out > /dev/stdout; echo err > /dev/stderr', { user });
        assert.deepEqual(lines.sort(), ['err', 'out'], `user ${user}`);
      }
    });

    it('joins long lines, and keeps bytes as they are', async () => {
      const { container, lines } = await shell('head -c 100000 /dev/zero | tr "\\0" x; echo; printf "no newline"');
      assert.deepEqual(
        lines.map((line) => line.length),
        [100_000, 10],
        container.id,
      );
    });

    it('selects by number, time and stream', async () => {
      const { id } = await sandbox();
      const container = await start({
        sandbox: id,
        command: ['sh', '-c', 'for i in 1 2 3 4 5; do echo $i; sleep 0.01; done; echo e >&2'],
      });
      await bed.engine.waitContainer(container.id);
      const select = (options: LogOptions) => linesOf(container.id, options);
      assert.deepEqual(await select({ tail: 2, stderr: false }), ['4', '5']);
      assert.deepEqual(await select({ stdout: false }), ['e']);
      assert.deepEqual(await select({ tail: 0 }), []);
      const times = (await Array.fromAsync(bed.engine.logs(container.id, { stderr: false }))).map(({ time }) => time);
      const third = times[2] ?? '';
      const at = Date.parse(third) + Number(`0.${/\.\d{3}(\d+)/.exec(third)?.[1] ?? '0'}`);
      // Lines that are read at once have one time.
      const before = await select({ until: at, stderr: false });
      assert.deepEqual(before, ['1', '2', '3', '4', '5'].slice(0, times.lastIndexOf(third) + 1));
      const after = await select({ since: at, stderr: false });
      assert.deepEqual(after, ['1', '2', '3', '4', '5'].slice(times.indexOf(third)));
      assert.deepEqual(await select({ follow: true, tail: 1, stderr: false }), ['5']);
      await bed.engine.removeSandbox(id);
    });

    it('follows across rotations without losing or repeating a line', async () => {
      const { id } = await sandbox();
      const total = 6000;
      const log = { path: `${bed.engine.info().dataDirectory}/logs/rotated.log`, maxBytes: 20_000, maxFiles: 1000 };
      const container = await create({
        sandbox: id,
        command: [
          'sh',
          '-c',
          `for j in 1 2 3 4; do i=0; while [ $i -lt ${total / 4} ]; do i=$((i+1)); echo $j $i; done; sleep 0.4; done`,
        ],
        log,
      });
      await bed.engine.startContainer(container.id);
      const followed = await linesOf(container.id, { follow: true });
      const expected = [1, 2, 3, 4].flatMap((j) =>
        Array.from({ length: total / 4 }, (_, index) => `${j} ${index + 1}`),
      );
      assert.deepEqual(followed, expected);
      assert.deepEqual(await linesOf(container.id), expected, 'what is kept is the same');
      await bed.engine.removeContainer(container.id, { logs: true });
      await bed.engine.removeSandbox(id);
    });
  });
}

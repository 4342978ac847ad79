/**
 * The engine's contract as tests: what every implementation of `engine/engine.ts` does, on a real kernel with a real runtime.
 * The factory opens one engine, which all tests share, apart by sandbox.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import {
  type Container,
  type ContainerSpec,
  type Engine,
  EngineError,
  type LogOptions,
  type Sandbox,
} from '#engine/engine.ts';

export interface EngineUnderTest {
  readonly engine: Engine;
  /** An image whose layers hold a busybox, a user `app` (1000), and a group `extra` (2000) that `app` is in. */
  readonly image: string;
  reopen(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

export function engineContract(name: string, open: () => Promise<EngineUnderTest>): void {
  describe(`${name} keeps the engine's contract`, { timeout: 600_000 }, () => {
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
    const shell = async (
      script: string,
      spec: Partial<ContainerSpec> = {},
    ): Promise<{ lines: string[]; container: Container; code: number }> => {
      const { id } = await sandbox();
      const container = await start({ sandbox: id, command: ['sh', '-c', script], ...spec });
      const { code } = await under.engine.waitContainer(container.id);
      const lines = await linesOf(under.engine, container.id);
      const ended = under.engine.container(container.id);
      assert.ok(ended);
      await under.engine.removeSandbox(id);
      return { lines, container: ended, code };
    };

    describe('a container', () => {
      it('goes from created to running to exited, with its exit status and its output', async () => {
        const { id } = await sandbox();
        const container = await create({
          sandbox: id,
          command: ['sh', '-c', 'echo out; echo err >&2; read line; exit 3'],
          stdin: true,
        });
        assert.equal(container.state, 'created');
        await under.engine.startContainer(container.id);
        const running = under.engine.container(container.id);
        assert.equal(running?.state, 'running');
        assert.ok(running.pid !== undefined && running.startedAt !== undefined);
        let said = 0;
        for await (const _ of under.engine.logs(container.id, { follow: true })) if (++said === 2) break;
        await under.engine.killContainer(container.id, 'SIGKILL');
        const exit = await under.engine.waitContainer(container.id);
        assert.deepEqual(
          { code: exit.code, signal: exit.signal, oom: exit.oomKilled },
          { code: 137, signal: 9, oom: false },
        );
        assert.equal(under.engine.container(container.id)?.state, 'exited');
        const records = await Array.fromAsync(under.engine.logs(container.id, {}));
        assert.deepEqual(records.map(({ stream, line }) => `${stream} ${line}`).sort(), ['stderr err', 'stdout out']);
        await rejects(under.engine.startContainer(container.id), 'conflict');
        await under.engine.removeSandbox(id);
        assert.equal(under.engine.container(container.id), undefined);
      });

      it('has a terminal where it asks for one', async () => {
        const { lines } = await shell('test -t 0 && test -t 1 && echo terminal', { tty: true });
        assert.deepEqual(
          lines.map((line) => line.trim()),
          ['terminal'],
        );
      });

      it('keeps an exit status above 128 apart from a signal', async () => {
        const { container } = await shell('exit 137');
        assert.equal(container.exit?.code, 137);
        const kernel = readFileSync('/proc/sys/kernel/osrelease', 'utf8').split('.').map(Number);
        const canTell = (kernel[0] ?? 0) > 6 || ((kernel[0] ?? 0) === 6 && (kernel[1] ?? 0) >= 15);
        assert.equal(container.exit.signal, canTell ? undefined : 9);
      });

      it('has the image’s environment, the spec’s after it, its user, its directory and its sandbox’s names', async () => {
        const { lines } = await shell(
          'echo $FROM_IMAGE $MINE; id; pwd; hostname; grep -c host-a /etc/hosts; echo $HOME',
          {
            env: ['MINE=yes', 'FROM_IMAGE=changed'],
            user: 'app',
            workingDirectory: '/home/app',
            supplementaryGroups: [3000],
          },
        );
        assert.deepEqual(lines, [
          'changed yes',
          'uid=1000(app) gid=1000(app) groups=2000(extra),3000',
          '/home/app',
          'host-a',
          '1',
          '/home/app',
        ]);
      });

      it('obeys its stop signal, and is killed when it does not', async () => {
        const { id } = await sandbox();
        const polite = await start({
          sandbox: id,
          name: 'polite',
          command: ['sh', '-c', 'trap "exit 5" HUP; echo ready; while :; do sleep 0.1; done'],
          stopSignal: 'SIGHUP',
        });
        await firstLine(under.engine, polite.id);
        await under.engine.stopContainer(polite.id, { graceSeconds: 20 });
        assert.equal(under.engine.container(polite.id)?.exit?.code, 5);
        const deaf = await start({
          sandbox: id,
          name: 'deaf',
          command: ['sh', '-c', 'trap "" TERM; echo ready; while :; do sleep 0.1; done'],
        });
        await firstLine(under.engine, deaf.id);
        await under.engine.stopContainer(deaf.id, { graceSeconds: 0.2 });
        assert.equal(under.engine.container(deaf.id)?.exit?.signal, 9);
        await under.engine.removeSandbox(id);
      });

      it('that is out of memory is killed and says so', async () => {
        const { container } = await shell('tail /dev/zero', { limits: { memoryBytes: 16 * 1024 * 1024 } });
        assert.equal(container.exit?.oomKilled, true);
      });

      it('that fills its disk gets ENOSPC', async () => {
        const { lines, code } = await shell(
          'dd if=/dev/zero of=/home/fill bs=1M count=64 2>&1; rm /home/fill; echo again > /home/x && cat /home/x',
          {
            limits: { diskBytes: 16 * 1024 * 1024 },
          },
        );
        assert.ok(
          lines.some((line) => line.includes('No space left on device')),
          lines.join('\n'),
        );
        assert.equal(lines.at(-1), 'again');
        assert.equal(code, 0);
      });

      it('has no more processes than its limit', async () => {
        const { lines } = await shell('for i in 1 2 3 4 5 6 7 8 9 10; do sleep 1 & done 2>&1; echo end', {
          limits: { pids: 6 },
        });
        assert.ok(
          lines.some((line) => line.includes("can't fork")),
          lines.join('\n'),
        );
      });

      it('can write its root, unless that is read-only', async () => {
        assert.equal((await shell('echo x > /file')).code, 0);
        assert.equal((await shell('echo x > /file', { readOnlyRoot: true })).code, 1);
      });

      it('is refused with a reason where it can never run', async () => {
        const { id } = await sandbox();
        await rejects(create({ sandbox: id, image: 'no-such-image:latest' }), 'not-found');
        await rejects(create({ sandbox: 'f'.repeat(64) }), 'not-found');
        await rejects(create({ sandbox: id, user: 'nobody-here' }), 'invalid');
        await rejects(create({ sandbox: id, env: ['=x'] }), 'invalid');
        await rejects(create({ sandbox: id, command: [''] }), 'invalid');
        await rejects(create({ sandbox: id, capabilities: { add: ['NOT_ONE'] } }), 'invalid');
        await rejects(create({ sandbox: id, mounts: [{ kind: 'tmpfs', target: 'relative' }] }), 'invalid');
        await rejects(create({ sandbox: id, limits: { diskBytes: 5 } }), 'invalid');
        for (const [index, command] of [['/no/such'], ['/etc/not-executable'], ['/etc']].entries()) {
          const container = await create({ sandbox: id, name: `bad-${index}`, command });
          await rejects(under.engine.startContainer(container.id), 'invalid');
          const failed = under.engine.container(container.id);
          assert.equal(failed?.state, 'exited');
          assert.match(failed.exit?.message ?? '', /cannot be executed/);
        }
        const first = await create({ sandbox: id });
        await rejects(create({ sandbox: id }), 'conflict');
        await under.engine.removeContainer(first.id);
        await under.engine.removeContainer(first.id);
        await create({ sandbox: id });
        await under.engine.removeSandbox(id);
        await under.engine.removeSandbox(id);
      });
    });

    describe('isolation', () => {
      it('makes the container’s root nobody on the host, without new privileges', async () => {
        const { id, idRange } = await sandbox();
        const container = await start({ sandbox: id, command: ['sleep', '60'] });
        const status = readFileSync(`/proc/${under.engine.container(container.id)?.pid}/status`, 'utf8');
        assert.match(status, new RegExp(`^Uid:\t${idRange.first}\t`, 'm'));
        assert.match(status, new RegExp(`^Gid:\t${idRange.first}\t`, 'm'));
        assert.match(status, /^NoNewPrivs:\t1$/m);
        assert.match(status, /^Seccomp:\t2$/m);
        assert.match(status, /^CapBnd:\t00000000a80425fb$/m, 'Docker’s default set');
        await under.engine.removeSandbox(id);
      });

      it('gives capabilities as asked', async () => {
        const { lines } = await shell('grep CapEff /proc/self/status', {
          capabilities: { drop: ['ALL'], add: ['NET_BIND_SERVICE'] },
        });
        assert.deepEqual(lines, ['CapEff:\t0000000000000400']);
        const user = await shell('grep CapEff /proc/self/status', { user: '1000' });
        assert.deepEqual(user.lines, ['CapEff:\t0000000000000000']);
      });

      it('refuses mounts, namespaces, devices, kernel settings and other people’s files', async () => {
        const { lines } = await shell(
          [
            'mount -t tmpfs none /tmp || echo no mount',
            'unshare -U true || echo no namespace',
            'mknod /tmp/sda b 8 0 || echo no device',
            'echo 1 > /proc/sys/kernel/panic || echo no setting',
            'head -c1 /proc/kcore | wc -c',
            'echo x > /sys/fs/cgroup/new || mkdir /sys/fs/cgroup/pids/new || echo no cgroup',
            'chown 70000 /tmp || echo no id',
          ].join('; '),
        );
        const refused = lines.filter((line) => /^(no |0$)/.test(line));
        assert.deepEqual(refused, ['no mount', 'no namespace', 'no device', 'no setting', '0', 'no cgroup', 'no id']);
      });

      it('shows only its own processes', async () => {
        const { lines } = await shell('ps -o pid | tail -n +2 | head -1');
        assert.equal(lines[0]?.trim(), '1');
      });
    });

    describe('a sandbox', () => {
      it('is one network for its containers, and reaches other sandboxes by address', async () => {
        const [a, b] = await Promise.all([sandbox(), sandbox()]);
        assert.notEqual(a.ip, b.ip);
        await start({ sandbox: b.id, command: ['sh', '-c', 'while :; do echo from-b | nc -l -p 7000; done'] });
        const reader = await start({
          sandbox: a.id,
          command: [
            'sh',
            '-c',
            `ping -c1 -W5 ${b.ip} >/dev/null && echo ping; until nc -w2 ${b.ip} 7000; do sleep 0.1; done`,
          ],
        });
        await under.engine.waitContainer(reader.id);
        assert.deepEqual(await linesOf(under.engine, reader.id), ['ping', 'from-b']);
        const neighbour = await start({
          sandbox: b.id,
          name: 'second',
          command: ['sh', '-c', 'until nc -w2 127.0.0.1 7000; do sleep 0.1; done'],
        });
        await under.engine.waitContainer(neighbour.id);
        assert.deepEqual(await linesOf(under.engine, neighbour.id), ['from-b']);
        const traffic = await under.engine.sandboxStats(a.id);
        assert.ok(traffic.sentBytes > 0 && traffic.receivedBytes > 0);
        await Promise.all([under.engine.removeSandbox(a.id), under.engine.removeSandbox(b.id)]);
      });

      it('limits its containers together', async () => {
        const { id } = await under.engine.createSandbox({
          name: 'limited',
          hostname: 'limited',
          limits: { memoryBytes: 24 * 1024 * 1024, pids: 64, cpuMillis: 900 },
        });
        const container = await start({ sandbox: id, command: ['tail', '/dev/zero'] });
        assert.equal((await under.engine.waitContainer(container.id)).oomKilled, true);
        await under.engine.removeSandbox(id);
      });

      it('with internet egress reaches neither this host nor other sandboxes', async () => {
        const [isolated, other] = await Promise.all([sandbox({ egress: 'internet' }), sandbox()]);
        const gateway = other.ip.replace(/\d+$/, '1');
        const probe = `for ip in ${other.ip} ${gateway}; do ping -c1 -W1 $ip >/dev/null && echo reached || echo blocked; done`;
        const closed = await start({ sandbox: isolated.id, command: ['sh', '-c', probe] });
        const open = await start({ sandbox: other.id, command: ['sh', '-c', probe] });
        await Promise.all([under.engine.waitContainer(closed.id), under.engine.waitContainer(open.id)]);
        assert.deepEqual(await linesOf(under.engine, closed.id), ['blocked', 'blocked']);
        assert.deepEqual(await linesOf(under.engine, open.id), ['reached', 'reached']);
        await Promise.all([under.engine.removeSandbox(isolated.id), under.engine.removeSandbox(other.id)]);
      });

      it('cannot send from an address that is not its own', async () => {
        const [a, b] = await Promise.all([sandbox(), sandbox()]);
        const stranger = a.ip.replace(/\d+$/, '250');
        const script = `ip addr add ${stranger}/32 dev eth0 && ping -c1 -W1 -I ${stranger} ${b.ip} >/dev/null && echo reached || echo blocked`;
        const liar = await start({
          sandbox: a.id,
          command: ['sh', '-c', script],
          capabilities: { add: ['NET_ADMIN'] },
        });
        await under.engine.waitContainer(liar.id);
        assert.deepEqual(await linesOf(under.engine, liar.id), ['blocked']);
        await Promise.all([under.engine.removeSandbox(a.id), under.engine.removeSandbox(b.id)]);
      });

      it('has a name of its own, and its own settings for names', async () => {
        const spec = {
          name: 'named',
          hostname: 'named-host',
          dns: { servers: ['10.1.2.3'], searches: ['svc.test'], options: ['ndots:5'] },
          hostAliases: [{ ip: '10.9.9.9', names: ['alias.test'] }],
        };
        const { id } = await under.engine.createSandbox(spec);
        await rejects(under.engine.createSandbox(spec), 'conflict');
        const container = await start({
          sandbox: id,
          command: ['sh', '-c', 'cat /etc/resolv.conf; grep alias /etc/hosts; cat /etc/hostname'],
        });
        await under.engine.waitContainer(container.id);
        assert.deepEqual(await linesOf(under.engine, container.id), [
          'nameserver 10.1.2.3',
          'search svc.test',
          'options ndots:5',
          '10.9.9.9\talias.test',
          'named-host',
        ]);
        await under.engine.removeSandbox(id);
        await rejects(under.engine.createSandbox({ name: 'x', hostname: 'bad name\n' }), 'invalid');
        await rejects(
          under.engine.createSandbox({ name: 'x', hostname: 'x', dns: { searches: ['a\nnameserver 1.1.1.1'] } }),
          'invalid',
        );
      });
    });

    describe('mounts', () => {
      it('brings files, memory, host directories and shared directories', async () => {
        const { id } = await sandbox();
        const mounts: ContainerSpec['mounts'] = [
          {
            kind: 'files',
            target: '/etc/secret',
            files: [{ path: 'a/key', content: Buffer.from('hush\n'), mode: 0o400 }],
          },
          { kind: 'tmpfs', target: '/scratch', sizeBytes: 1024 * 1024 },
          { kind: 'bind', source: '/usr/share/zoneinfo', target: '/zones', readOnly: true },
          { kind: 'shared', name: 'work', target: '/work' },
          { kind: 'shared', name: 'small', target: '/small', sizeBytes: 8 * 1024 * 1024 },
        ];
        const script = [
          'cat /etc/secret/a/key',
          'stat -c "%u %a" /etc/secret/a/key /zones/.',
          'echo x > /etc/secret/new || echo read-only',
          'dd if=/dev/zero of=/scratch/fill bs=1M count=2 2>/dev/null || echo scratch full',
          'echo x > /zones/new || echo zones read-only',
          'echo shared > /work/file',
          'dd if=/dev/zero of=/small/fill bs=1M count=16 2>/dev/null || echo small full',
        ];
        const first = await start({ sandbox: id, command: ['sh', '-c', script.join('; ')], mounts });
        await under.engine.waitContainer(first.id);
        const lines = (await linesOf(under.engine, first.id)).filter((line) => !line.startsWith('sh:'));
        const full = ['scratch full', 'zones read-only', 'small full'];
        assert.deepEqual(lines, ['hush', '0 400', '0 755', 'read-only', ...full]);
        const second = await start({
          sandbox: id,
          name: 'second',
          user: 'app',
          command: ['sh', '-c', 'cat /work/file; echo y > /work/mine && ls /work'],
          mounts,
        });
        await under.engine.waitContainer(second.id);
        assert.deepEqual(await linesOf(under.engine, second.id), ['shared', 'file', 'mine']);
        await under.engine.removeSandbox(id);
      });
    });

    describe('exec', () => {
      it('has the exit status, both outputs, and standard input that ends', async () => {
        const { id } = await sandbox();
        const container = await start({ sandbox: id, command: ['sleep', '60'], env: ['MINE=yes'] });
        const session = await under.engine.exec(container.id, {
          command: ['sh', '-c', 'cat; echo $MINE $OTHER >&2; id -u; exit 42'],
          stdin: true,
          env: ['OTHER=too'],
          user: 'app',
        });
        session.stdin?.end('hello\n');
        const [out, err, exit] = await Promise.all([
          session.stdout.toArray(),
          session.stderr?.toArray(),
          session.exited,
        ]);
        assert.equal(Buffer.concat(out).toString(), 'hello\n1000\n');
        assert.equal(Buffer.concat(err ?? []).toString(), 'yes too\n');
        assert.equal(exit.code, 42);
        await rejects(under.engine.exec(container.id, { command: ['no-such-program'] }), 'invalid');
        await under.engine.removeSandbox(id);
      });

      it('has a terminal that can be resized', async () => {
        const { id } = await sandbox();
        const container = await start({ sandbox: id, command: ['sleep', '60'] });
        const script = 'stty size; trap "stty size; exit 9" WINCH; echo ready; while :; do sleep 0.1; done';
        const session = await under.engine.exec(container.id, {
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
        const input = await under.engine.exec(container.id, { command: ['sh'], tty: true, stdin: true });
        input.stdin?.end('echo $((6 * 7)); exit 4\n');
        const out = Buffer.concat(await input.stdout.toArray()).toString();
        assert.match(out, /42/);
        assert.equal((await input.exited).code, 4);
        await under.engine.removeSandbox(id);
      });

      it('can be killed, and ends with its container', async () => {
        const { id } = await sandbox();
        const container = await start({ sandbox: id, command: ['sleep', '60'] });
        const killed = await under.engine.exec(container.id, { command: ['sleep', '60'] });
        killed.stdout.resume();
        killed.stderr?.resume();
        killed.kill();
        assert.equal((await killed.exited).code, 137);
        const orphan = await under.engine.exec(container.id, { command: ['sleep', '60'] });
        orphan.stdout.resume();
        orphan.stderr?.resume();
        await under.engine.stopContainer(container.id, { graceSeconds: 0 });
        assert.notEqual((await orphan.exited).code, 0);
        await rejects(under.engine.exec(container.id, { command: ['true'] }), 'conflict');
        await under.engine.removeSandbox(id);
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
        await under.engine.waitContainer(container.id);
        const select = (options: LogOptions) => linesOf(under.engine, container.id, options);
        assert.deepEqual(await select({ tail: 2, stderr: false }), ['4', '5']);
        assert.deepEqual(await select({ stdout: false }), ['e']);
        assert.deepEqual(await select({ tail: 0 }), []);
        const times = (await Array.fromAsync(under.engine.logs(container.id, { stderr: false }))).map(
          ({ time }) => time,
        );
        const third = times[2] ?? '';
        const at = Date.parse(third) + Number(`0.${/\.\d{3}(\d+)/.exec(third)?.[1] ?? '0'}`);
        // Lines that are read at once have one time.
        const before = await select({ until: at, stderr: false });
        assert.deepEqual(before, ['1', '2', '3', '4', '5'].slice(0, times.lastIndexOf(third) + 1));
        const after = await select({ since: at, stderr: false });
        assert.deepEqual(after, ['1', '2', '3', '4', '5'].slice(times.indexOf(third)));
        assert.deepEqual(await select({ follow: true, tail: 1, stderr: false }), ['5']);
        await under.engine.removeSandbox(id);
      });

      it('follows across rotations without losing or repeating a line', async () => {
        const { id } = await sandbox();
        const total = 6000;
        const log = { path: `${under.engine.info().dataDirectory}/logs/rotated.log`, maxBytes: 20_000, maxFiles: 1000 };
        const container = await create({
          sandbox: id,
          command: [
            'sh',
            '-c',
            `for j in 1 2 3 4; do i=0; while [ $i -lt ${total / 4} ]; do i=$((i+1)); echo $j $i; done; sleep 0.4; done`,
          ],
          log,
        });
        await under.engine.startContainer(container.id);
        const followed = await linesOf(under.engine, container.id, { follow: true });
        const expected = [1, 2, 3, 4].flatMap((j) =>
          Array.from({ length: total / 4 }, (_, index) => `${j} ${index + 1}`),
        );
        assert.deepEqual(followed, expected);
        assert.deepEqual(await linesOf(under.engine, container.id), expected, 'what is kept is the same');
        await under.engine.removeContainer(container.id, { logs: true });
        await under.engine.removeSandbox(id);
      });
    });

    describe('watching', () => {
      it('tells of every change, in order', async () => {
        const controller = new AbortController();
        const events = under.engine.events({ signal: controller.signal });
        const { id } = await sandbox();
        const container = await start({ sandbox: id, command: ['true'] });
        await under.engine.waitContainer(container.id);
        await under.engine.removeSandbox(id);
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
        await firstLine(under.engine, container.id);
        const stats = await under.engine.stats(container.id);
        assert.equal(stats.memoryLimitBytes, limits.memoryBytes);
        assert.ok(stats.cpuNanos > 0 && stats.memoryBytes > 0 && stats.pids >= 1, JSON.stringify(stats));
        assert.ok(stats.diskBytes >= 4 * 1024 * 1024, JSON.stringify(stats));
        await under.engine.removeSandbox(id);
        await rejects(under.engine.stats(container.id), 'not-found');
      });
    });

    describe('an engine that is opened again', () => {
      it('adopts what runs, and learns how things ended meanwhile', async () => {
        const { id, ip } = await sandbox();
        const runs = await start({ sandbox: id, name: 'runs', command: ['sh', '-c', 'echo before; sleep 60'] });
        const ends = await start({ sandbox: id, name: 'ends', command: ['sh', '-c', 'sleep 0.3; exit 9'] });
        const waits = await create({ sandbox: id, name: 'waits', command: ['sh', '-c', 'exit 8'] });
        const pid = under.engine.container(runs.id)?.pid;
        await under.reopen();
        assert.equal(under.engine.sandbox(id)?.ip, ip);
        assert.deepEqual(under.engine.container(runs.id)?.pid, pid);
        assert.equal(under.engine.container(runs.id)?.state, 'running');
        assert.equal((await under.engine.waitContainer(ends.id)).code, 9);
        await under.engine.startContainer(waits.id);
        assert.equal((await under.engine.waitContainer(waits.id)).code, 8);
        assert.deepEqual(await linesOf(under.engine, runs.id), ['before']);
        const session = await under.engine.exec(runs.id, { command: ['echo', 'still here'] });
        assert.equal(Buffer.concat(await session.stdout.toArray()).toString(), 'still here\n');
        await under.engine.stopContainer(runs.id, { graceSeconds: 0 });
        await under.engine.removeSandbox(id);
      });
    });
  });
}

async function linesOf(engine: Engine, id: string, options: LogOptions = {}): Promise<string[]> {
  return (await Array.fromAsync(engine.logs(id, options))).map(({ line }) => line.toString());
}

/** Waits until the container has said something. */
async function firstLine(engine: Engine, id: string): Promise<void> {
  for await (const _ of engine.logs(id, { follow: true })) return;
}

async function rejects(promise: Promise<unknown>, code: EngineError['code']): Promise<void> {
  await assert.rejects(promise, (error) => {
    assert.ok(error instanceof EngineError, String(error));
    assert.equal(error.code, code, error.message);
    return true;
  });
}

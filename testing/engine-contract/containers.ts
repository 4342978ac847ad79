/** What a container is, and what it may not do. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { type EngineBed, rejects } from './bed.ts';

export function containerContract(bed: EngineBed): void {
  const { sandbox, create, start, shell, firstLine } = bed;

  describe('a container', () => {
    it('goes from created to running to exited, with its exit status and its output', async () => {
      const { id } = await sandbox();
      const container = await create({
        sandbox: id,
        command: ['sh', '-c', 'echo out; echo err >&2; read line; exit 3'],
        stdin: true,
      });
      assert.equal(container.state, 'created');
      await bed.engine.startContainer(container.id);
      const running = bed.engine.container(container.id);
      assert.equal(running?.state, 'running');
      assert.ok(running.pid !== undefined && running.startedAt !== undefined);
      let said = 0;
      for await (const _ of bed.engine.logs(container.id, { follow: true })) if (++said === 2) break;
      await bed.engine.killContainer(container.id, 'SIGKILL');
      const exit = await bed.engine.waitContainer(container.id);
      assert.deepEqual(
        { code: exit.code, signal: exit.signal, oom: exit.oomKilled },
        { code: 137, signal: 9, oom: false },
      );
      assert.equal(bed.engine.container(container.id)?.state, 'exited');
      const records = await Array.fromAsync(bed.engine.logs(container.id, {}));
      assert.deepEqual(records.map(({ stream, line }) => `${stream} ${line}`).sort(), ['stderr err', 'stdout out']);
      await rejects(bed.engine.startContainer(container.id), 'conflict');
      await bed.engine.removeSandbox(id);
      assert.equal(bed.engine.container(container.id), undefined);
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
      await firstLine(polite.id);
      await bed.engine.stopContainer(polite.id, { graceSeconds: 20 });
      assert.equal(bed.engine.container(polite.id)?.exit?.code, 5);
      const deaf = await start({
        sandbox: id,
        name: 'deaf',
        command: ['sh', '-c', 'trap "" TERM; echo ready; while :; do sleep 0.1; done'],
      });
      await firstLine(deaf.id);
      await bed.engine.stopContainer(deaf.id, { graceSeconds: 0.2 });
      assert.equal(bed.engine.container(deaf.id)?.exit?.signal, 9);
      await bed.engine.removeSandbox(id);
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
        await rejects(bed.engine.startContainer(container.id), 'invalid');
        const failed = bed.engine.container(container.id);
        assert.equal(failed?.state, 'exited');
        assert.match(failed.exit?.message ?? '', /cannot be executed/);
      }
      const first = await create({ sandbox: id });
      await rejects(create({ sandbox: id }), 'conflict');
      await bed.engine.removeContainer(first.id);
      await bed.engine.removeContainer(first.id);
      await create({ sandbox: id });
      await bed.engine.removeSandbox(id);
      await bed.engine.removeSandbox(id);
    });
  });

  describe('isolation', () => {
    it('makes the container’s root nobody on the host, without new privileges', async () => {
      const { id, idRange } = await sandbox();
      const container = await start({ sandbox: id, command: ['sleep', '60'] });
      const status = readFileSync(`/proc/${bed.engine.container(container.id)?.pid}/status`, 'utf8');
      assert.match(status, new RegExp(`^Uid:\t${idRange.first}\t`, 'm'));
      assert.match(status, new RegExp(`^Gid:\t${idRange.first}\t`, 'm'));
      assert.match(status, /^NoNewPrivs:\t1$/m);
      assert.match(status, /^Seccomp:\t2$/m);
      assert.match(status, /^CapBnd:\t00000000a80425fb$/m, 'Docker’s default set');
      await bed.engine.removeSandbox(id);
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
}

/** What containers of a sandbox share, and what is mounted into them. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ContainerSpec } from '#engine/engine.ts';
import { type EngineBed, rejects } from './bed.ts';

export function sandboxContract(bed: EngineBed): void {
  const { sandbox, start, linesOf } = bed;

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
      await bed.engine.waitContainer(reader.id);
      assert.deepEqual(await linesOf(reader.id), ['ping', 'from-b']);
      const neighbour = await start({
        sandbox: b.id,
        name: 'second',
        command: ['sh', '-c', 'until nc -w2 127.0.0.1 7000; do sleep 0.1; done'],
      });
      await bed.engine.waitContainer(neighbour.id);
      assert.deepEqual(await linesOf(neighbour.id), ['from-b']);
      const traffic = await bed.engine.sandboxStats(a.id);
      assert.ok(traffic.sentBytes > 0 && traffic.receivedBytes > 0);
      await Promise.all([bed.engine.removeSandbox(a.id), bed.engine.removeSandbox(b.id)]);
    });

    it('limits its containers together', async () => {
      const { id } = await bed.engine.createSandbox({
        name: 'limited',
        hostname: 'limited',
        limits: { memoryBytes: 24 * 1024 * 1024, pids: 64, cpuMillis: 900 },
      });
      const container = await start({ sandbox: id, command: ['tail', '/dev/zero'] });
      assert.equal((await bed.engine.waitContainer(container.id)).oomKilled, true);
      await bed.engine.removeSandbox(id);
    });

    it('with internet egress reaches neither this host nor other sandboxes', async () => {
      const [isolated, other] = await Promise.all([sandbox({ egress: 'internet' }), sandbox()]);
      const gateway = other.ip.replace(/\d+$/, '1');
      const probe = `for ip in ${other.ip} ${gateway}; do ping -c1 -W1 $ip >/dev/null && echo reached || echo blocked; done`;
      const closed = await start({ sandbox: isolated.id, command: ['sh', '-c', probe] });
      const open = await start({ sandbox: other.id, command: ['sh', '-c', probe] });
      await Promise.all([bed.engine.waitContainer(closed.id), bed.engine.waitContainer(open.id)]);
      assert.deepEqual(await linesOf(closed.id), ['blocked', 'blocked']);
      assert.deepEqual(await linesOf(open.id), ['reached', 'reached']);
      await Promise.all([bed.engine.removeSandbox(isolated.id), bed.engine.removeSandbox(other.id)]);
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
      await bed.engine.waitContainer(liar.id);
      assert.deepEqual(await linesOf(liar.id), ['blocked']);
      await Promise.all([bed.engine.removeSandbox(a.id), bed.engine.removeSandbox(b.id)]);
    });

    it('has a name of its own, and its own settings for names', async () => {
      const spec = {
        name: 'named',
        hostname: 'named-host',
        dns: { servers: ['10.1.2.3'], searches: ['svc.test'], options: ['ndots:5'] },
        hostAliases: [{ ip: '10.9.9.9', names: ['alias.test'] }],
      };
      const { id } = await bed.engine.createSandbox(spec);
      await rejects(bed.engine.createSandbox(spec), 'conflict');
      const container = await start({
        sandbox: id,
        command: ['sh', '-c', 'cat /etc/resolv.conf; grep alias /etc/hosts; cat /etc/hostname'],
      });
      await bed.engine.waitContainer(container.id);
      assert.deepEqual(await linesOf(container.id), [
        'nameserver 10.1.2.3',
        'search svc.test',
        'options ndots:5',
        '10.9.9.9\talias.test',
        'named-host',
      ]);
      await bed.engine.removeSandbox(id);
      await rejects(bed.engine.createSandbox({ name: 'x', hostname: 'bad name\n' }), 'invalid');
      await rejects(
        bed.engine.createSandbox({ name: 'x', hostname: 'x', dns: { searches: ['a\nnameserver 1.1.1.1'] } }),
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
      await bed.engine.waitContainer(first.id);
      const lines = (await linesOf(first.id)).filter((line) => !line.startsWith('sh:'));
      const full = ['scratch full', 'zones read-only', 'small full'];
      assert.deepEqual(lines, ['hush', '0 400', '0 755', 'read-only', ...full]);
      const second = await start({
        sandbox: id,
        name: 'second',
        user: 'app',
        command: ['sh', '-c', 'cat /work/file; echo y > /work/mine && ls /work'],
        mounts,
      });
      await bed.engine.waitContainer(second.id);
      assert.deepEqual(await linesOf(second.id), ['shared', 'file', 'mine']);
      await bed.engine.removeSandbox(id);
    });
  });
}

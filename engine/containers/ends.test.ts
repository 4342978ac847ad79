/** How containers end while no engine runs, and what the next one knows of it. */
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { ContainerExit } from '../engine.ts';
import { openEngineHost } from '#testing/engine-host.ts';
import { simulateBoot } from '#testing/boot.ts';

const GROW = 'x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done';

test('exit status, signal and OOM kill are known of what ended while no engine ran', { timeout: 300_000 }, async () => {
  await using host = await openEngineHost({ sandboxPool: 0 });
  const gate = join(host.options.dataDirectory, 'gate');
  mkdirSync(gate);
  chmodSync(gate, 0o755);
  const { id: sandbox } = await host.engine.createSandbox({ name: 'ends', hostname: 'ends' });
  const start = async (name: string, then: string): Promise<string> => {
    const script = `while [ ! -e /gate/open ]; do sleep 0.02; done; ${then}`;
    const { id } = await host.engine.createContainer({
      sandbox,
      name,
      image: host.image,
      command: ['sh', '-c', script],
      limits: { memoryBytes: 16 * 1024 * 1024 },
      mounts: [{ kind: 'bind', source: gate, target: '/gate', readOnly: true }],
    });
    await host.engine.startContainer(id);
    return id;
  };
  const ids = {
    zero: await start('zero', 'exit 0'),
    three: await start('three', 'exit 3'),
    loud: await start('loud', 'exit 137'),
    killed: await start('killed', 'sleep 1000'),
    greedy: await start('greedy', GROW),
    // A part of it was killed for lack of memory, and it went on.
    wounded: await start('wounded', `sh -c '${GROW}'; exit 4`),
  };
  const pid = host.engine.container(ids.killed)?.pid ?? 0;
  await host.engine.close();
  const down = Date.now();
  writeFileSync(join(gate, 'open'), '');
  process.kill(pid, 'SIGKILL');
  // Their monitors write down the ends; wait for all of them without an engine.
  await host.ended(Object.values(ids));
  const ended = Date.now();
  await host.reopen();
  const told = (id: string): Omit<ContainerExit, 'at'> => {
    const { at, ...exit } = host.engine.container(id)?.exit ?? { at: 0, code: -1, oomKilled: false };
    // As exact as the time of a file.
    assert.ok(at >= down - 20 && at <= ended + 20, `${at} is when it ended, from ${down} to ${ended}`);
    return exit;
  };
  assert.deepEqual(told(ids.zero), { code: 0, oomKilled: false });
  assert.deepEqual(told(ids.three), { code: 3, oomKilled: false });
  // An exit status of 137 and signal 9 are written down alike (`ContainerExit`).
  assert.deepEqual(told(ids.loud), { code: 137, signal: 9, oomKilled: false });
  assert.deepEqual(told(ids.killed), { code: 137, signal: 9, oomKilled: false });
  assert.deepEqual(told(ids.greedy), { code: 137, signal: 9, oomKilled: true });
  assert.deepEqual(told(ids.wounded), { code: 4, oomKilled: true });
  await host.engine.removeSandbox(sandbox);
});

test('a durable sandbox and its containers outlive a boot; a container runs again on what it wrote', {
  timeout: 300_000,
}, async () => {
  await using host = await openEngineHost({ sandboxPool: 1 });
  const { image } = host;
  const spec = { hostname: 'box', labels: { kind: 'kept' }, dns: { servers: ['9.9.9.9'] } };
  const kept = await host.engine.createSandbox({
    ...spec,
    name: 'kept',
    durable: true,
    hostAliases: [{ ip: '10.9.8.7', names: ['friend'] }],
  });
  const gone = await host.engine.createSandbox({ ...spec, name: 'gone' });
  const script =
    'echo $(hostname) >> /var/said; cat /var/said | wc -l; cat /etc/resolv.conf; grep friend /etc/hosts; true';
  const container = async (sandbox: string, name: string, limits = {}) =>
    await host.engine.createContainer({ sandbox, name, image, command: ['sh', '-c', script], limits });
  const runs = await container(kept.id, 'runs');
  const limited = await container(kept.id, 'limited', { diskBytes: 8 * 1024 * 1024 });
  const waits = await container(kept.id, 'waits');
  const lost = await container(gone.id, 'lost');
  for (const { id } of [runs, limited, lost]) {
    await host.engine.startContainer(id);
    assert.equal((await host.engine.waitContainer(id)).code, 0);
  }
  for (const round of [1, 2]) {
    await host.engine.close();
    await simulateBoot(host.options);
    await host.reopen();
    assert.deepEqual(
      host.engine.sandboxes(),
      [{ ...kept, lost: true }],
      `after boot ${round} the durable one is lost, the other gone`,
    );
    assert.deepEqual(
      [runs, limited, waits, lost].map(({ id }) => host.engine.container(id)?.state),
      ['exited', 'exited', 'created', 'exited'],
    );
  }
  await assert.rejects(host.engine.startContainer(runs.id, { again: true }), { code: 'conflict' });
  await assert.rejects(host.engine.publishPorts(kept.id, [{ hostPort: 0, port: 80, protocol: 'tcp' }]), {
    code: 'conflict',
  });
  const [again] = await Promise.all([host.engine.recoverSandbox(kept.id), host.engine.recoverSandbox(kept.id)]);
  assert.deepEqual(again, kept);
  for (const [id, count] of [
    [runs.id, 2],
    [limited.id, 2],
    [waits.id, 1],
  ] as const) {
    await host.engine.startContainer(id, { again: true });
    assert.equal((await host.engine.waitContainer(id)).code, 0);
    const lines = (await Array.fromAsync(host.engine.logs(id, {}))).map(({ line }) => line.toString());
    assert.deepEqual(lines.slice(-3), [String(count), 'nameserver 9.9.9.9', '10.9.8.7\tfriend']);
  }
  await assert.rejects(host.engine.startContainer(lost.id, { again: true }), { code: 'conflict' });
  await assert.rejects(host.engine.recoverSandbox(gone.id), { code: 'not-found' });
  await host.engine.removeContainer(lost.id);
  // A lost one is removed as any other.
  await host.engine.close();
  await simulateBoot(host.options);
  await host.reopen();
  await host.engine.removeSandbox(kept.id);
  assert.deepEqual([host.engine.sandboxes(), host.engine.containers()], [[], []]);
  rmSync(join(host.options.dataDirectory, 'gate'), { recursive: true, force: true });
});

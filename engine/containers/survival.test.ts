import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { on, once } from 'node:events';
import { existsSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type OpenedEngine, openEngine, purgeEngine, stopContainers } from '#engine/open.ts';
import { linkPrefix } from '#engine/network/names.ts';
import type { EngineOptions } from '#engine/options.ts';
import { engineOptionsForTest, leftovers, openEngineHost, removeAll } from '#testing/engine-host.ts';
import { addBusyboxImage } from '#testing/busybox-image.ts';

const chaos = fileURLToPath(new URL('../../testing/engine-chaos.ts', import.meta.url));

test('an engine that is killed at any moment leaves nothing that the next one does not know', {
  timeout: 300_000,
}, async () => {
  const options = engineOptionsForTest();
  const { log: _log, ...plain } = options;
  try {
    const first = await openEngine(options);
    const image = await addBusyboxImage(first.images);
    await first.close();
    for (let round = 0; round < 10; round += 1) {
      const child = spawn(process.execPath, ['--experimental-ffi', chaos, JSON.stringify(plain), image], {
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      const steps = on(createInterface({ input: child.stdout }), 'line');
      for (let wanted = randomInt(1, 16); wanted > 0; wanted -= 1) await steps.next();
      // Somewhere within the step: the moment is the random part of the test; nothing is waited for.
      await delay(randomInt(60));
      child.kill('SIGKILL');
      await once(child, 'close');
      const engine = await openEngine(options);
      try {
        await agree(engine, options);
        for (const { id } of engine.sandboxes().slice(0, 3)) await engine.removeSandbox(id);
        for (const { id, sandbox } of engine.containers())
          if (engine.sandbox(sandbox) === undefined) await engine.removeContainer(id);
      } finally {
        await engine.close();
      }
    }
  } finally {
    await purgeEngine(options);
    assert.deepEqual(leftovers(options), []);
    rmSync(options.dataDirectory, { recursive: true, force: true });
    rmSync(options.runDirectory, { recursive: true, force: true });
  }
});

/** What the kernel has of the instance is what the engine says, no more and no less. */
async function agree(engine: OpenedEngine, { instance, runDirectory }: EngineOptions): Promise<void> {
  for (const container of engine.containers()) {
    if (container.state === 'running' && !existsSync(`/proc/${container.pid}`)) {
      // It ended just now: its monitor tells.
      await engine.waitContainer(container.id, { signal: AbortSignal.timeout(60_000) });
    }
    if (container.state === 'exited')
      assert.ok([3, 137].includes(container.exit?.code ?? -1), JSON.stringify(container.exit));
  }
  const containers = engine.containers();
  const running = containers.filter(({ state }) => state === 'running').map(({ id }) => id);
  const monitors = commandLines().filter((line) => /(^|\/)conmon /.test(line) && line.includes(`${runDirectory}/`));
  for (const id of running) {
    if (monitors.some((line) => line.includes(id))) continue;
    // Without a monitor it must have ended just now, and then it says so; a lost one would wait for ever.
    const { message } = await engine.waitContainer(id, { signal: AbortSignal.timeout(60_000) });
    assert.equal(message, undefined, `${id} has its monitor`);
  }
  for (const line of monitors) {
    // A monitor lives on for a moment after it wrote down the end.
    const id = /--cid (\S+)/.exec(line)?.[1] ?? '';
    assert.ok(
      containers.some((container) => container.id === id && container.state !== 'created'),
      `orphan ${line}`,
    );
  }
  const known = new Set(
    readdirSync(`${runDirectory}/engine/sandboxes`).map((id) => `${linkPrefix(instance)}${id.slice(0, 8)}`),
  );
  for (const name of readdirSync('/sys/class/net')) {
    if (name.startsWith(linkPrefix(instance))) assert.ok(known.has(name), `orphan link ${name}`);
  }
  const ids = new Set(containers.map(({ id }) => id));
  for (const id of readdirSync(`${runDirectory}/engine/containers`))
    assert.ok(ids.has(id), `orphan container files ${id}`);
  for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
    const id = new RegExp(`${runDirectory}/engine/containers/([0-9a-f]{64})`).exec(line)?.[1];
    if (id !== undefined) assert.ok(ids.has(id), `orphan mount ${line}`);
  }
}

function commandLines(): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ');
      } catch {
        // It ended while we looked.
        return '';
      }
    });
}

test('after a reboot containers have exited and sandboxes are gone', { timeout: 300_000 }, async () => {
  await using host = await openEngineHost();
  const { engine, options, image } = host;
  const { id } = await engine.createSandbox({ name: 'a', hostname: 'a' });
  const running = await engine.createContainer({ sandbox: id, name: 'runs', image, command: ['sleep', '600'] });
  const created = await engine.createContainer({ sandbox: id, name: 'waits', image, command: ['true'] });
  await engine.startContainer(running.id);
  await engine.close();
  await stopContainers(options, { graceSeconds: 0 });
  rmSync(`${options.runDirectory}/engine`, { recursive: true, force: true });
  await host.reopen();
  assert.deepEqual(host.engine.sandboxes(), []);
  assert.equal(host.engine.container(running.id)?.state, 'exited');
  assert.equal(host.engine.container(created.id)?.state, 'exited');
  await host.engine.removeContainer(running.id);
  await host.engine.removeContainer(created.id);
  assert.deepEqual(host.engine.containers(), []);
});

test('a second engine on the same directories is refused, and disturbs nothing of the first', async () => {
  await using host = await openEngineHost({ sandboxPool: 0 });
  const { engine, image, options } = host;
  const { id } = await engine.createSandbox({ name: 's', hostname: 's' });
  const container = await engine.createContainer({ sandbox: id, name: 'c', image, command: ['sleep', '1000'] });
  await engine.startContainer(container.id);
  const session = await engine.exec(container.id, { command: ['cat'], stdin: true });
  await assert.rejects(openEngine(options), { name: 'EngineError', code: 'conflict' });
  await assert.rejects(stopContainers(options), { name: 'EngineError', code: 'conflict' });
  await assert.rejects(purgeEngine(options), { name: 'EngineError', code: 'conflict' });
  session.stdin?.end('still here');
  assert.equal(Buffer.concat(await session.stdout.toArray()).toString(), 'still here');
  assert.equal((await session.exited).code, 0);
});

test('an engine is not opened while its instance is removed', async () => {
  const options = engineOptionsForTest();
  await (await openEngine(options)).close();
  const removal = removeAll(options);
  await assert.rejects(openEngine(options), { name: 'EngineError', code: 'conflict' });
  await removal;
});

test('twenty containers start at once', { timeout: 300_000 }, async () => {
  await using host = await openEngineHost({ idRange: { first: 65_536 * 500, length: 65_536 * 32 } });
  const { engine, image } = host;
  const ids = await Promise.all(
    Array.from({ length: 20 }, async (_, index) => {
      const { id } = await engine.createSandbox({ name: `s${index}`, hostname: 'many' });
      const container = await engine.createContainer({ sandbox: id, name: 'main', image, command: ['sleep', '600'] });
      await engine.startContainer(container.id);
      return id;
    }),
  );
  assert.equal(engine.containers().filter(({ state }) => state === 'running').length, 20);
  assert.equal(new Set(engine.sandboxes().map(({ ip }) => ip)).size, 20);
  await Promise.all(ids.map((id) => engine.removeSandbox(id)));
  assert.deepEqual(engine.containers(), []);
});

test('the end of a container whose monitor was killed is learned while the engine runs', {
  timeout: 300_000,
}, async () => {
  await using host = await openEngineHost({ sandboxPool: 0 });
  const { engine, image } = host;
  const sandbox = await engine.createSandbox({ name: 's', hostname: 's' });
  const container = await engine.createContainer({ sandbox: sandbox.id, name: 'c', image, command: ['sleep', '1000'] });
  await engine.startContainer(container.id);
  const pidFile = `${host.options.runDirectory}/engine/containers/${container.id}/conmon.pid`;
  process.kill(Number(readFileSync(pidFile, 'utf8')), 'SIGKILL');
  await engine.killContainer(container.id, 'SIGKILL');
  const exit = await engine.waitContainer(container.id);
  assert.ok(exit.signal === 9 || exit.message?.includes('monitor'), JSON.stringify(exit));
});

test('the end of a container that an earlier engine started is learned too, whenever its monitor is killed', {
  timeout: 300_000,
}, async () => {
  await using host = await openEngineHost({ sandboxPool: 0 });
  const sandbox = await host.engine.createSandbox({ name: 's', hostname: 's' });
  const start = async (name: string): Promise<string> => {
    const spec = { sandbox: sandbox.id, name, image: host.image, command: ['sleep', '1000'] };
    const { id } = await host.engine.createContainer(spec);
    await host.engine.startContainer(id);
    return id;
  };
  const killMonitor = (id: string): void => {
    const pidFile = `${host.options.runDirectory}/engine/containers/${id}/conmon.pid`;
    process.kill(Number(readFileSync(pidFile, 'utf8')), 'SIGKILL');
  };
  const [before, after] = [await start('before'), await start('after')];
  await host.engine.close();
  killMonitor(before);
  await host.reopen();
  killMonitor(after);
  for (const id of [before, after]) {
    assert.equal(host.engine.container(id)?.state, 'running');
    await host.engine.stopContainer(id, { graceSeconds: 0 });
    assert.equal(host.engine.container(id)?.state, 'exited');
  }
});

/** A container writes as fast as it can while its engine is at work, frozen, or killed. */
import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import { type OpenedEngine, openEngine } from '#engine/open.ts';
import { engineOptionsForTest, openEngineHost, removeAll } from '#testing/engine-host.ts';
import type { EngineProcessOptions, StartedContainer } from '#testing/engine-process.fixture.ts';
import { readWhole } from '#testing/log-files.ts';
import { until } from '#testing/until.ts';
import type { LogGap } from '../engine.ts';
import { layout } from './layout.ts';
import { mostFileBytes } from './log-bound.ts';
import { exitFiles } from './purge.ts';

const fixture = fileURLToPath(new URL('../../testing/engine-process.fixture.ts', import.meta.url));
const MEBIBYTE = 1024 * 1024;
const LOG = { maxBytes: MEBIBYTE, maxFiles: 2 };
const MOST = mostFileBytes(LOG);
/** A flood is longer than a file may be, and ends by itself. */
const FLOOD = { lines: 12_000, bytes: 8000 };

/** Writes a flood at each SIGUSR1, and a line at each SIGUSR2. */
const TALKER = `
line=$(head -c ${FLOOD.bytes} /dev/zero | tr '\\0' x)
flood() { i=0; while [ $i -lt ${FLOOD.lines} ]; do echo "$i $line"; i=$((i+1)); done; }
trap flood USR1
trap 'echo after' USR2
echo ready
while :; do sleep 0.1; done`;

async function startEngine(
  options: EngineProcessOptions,
): Promise<{ child: ChildProcess; container: StartedContainer }> {
  const child = fork(fixture, [JSON.stringify(options)], {
    execArgv: ['--experimental-ffi', '--disable-warning=ExperimentalWarning'],
  });
  const [container] = (await once(child, 'message')) as [StartedContainer];
  return { child, container };
}

function sizes(logPath: string): number {
  const directory = dirname(logPath);
  return readdirSync(directory).reduce((sum, name) => sum + statSync(join(directory, name)).size, 0);
}

const sizeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0;

function written(pid: number): number {
  return Number(/^wchar: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))?.[1] ?? 0);
}

/** What `echo` writes of one in all. */
const FLOOD_LENGTH = Array.from({ length: FLOOD.lines }, (_, index) => `${index} \n`.length + FLOOD.bytes).reduce(
  (sum, bytes) => sum + bytes,
);

/** To its end: the shell writes it itself. */
async function flood({ pid }: StartedContainer): Promise<void> {
  const before = written(pid);
  process.kill(pid, 'SIGUSR1');
  await until(async () => written(pid) - before >= FLOOD_LENGTH, 240);
}

const read = (path: string) => readWhole(path, { isEnded: false });

/** How many lines of a flood are there, from its beginning on; the last one may be cut short. */
function floodLines(lines: readonly string[]): number {
  const from = lines.findIndex((line) => line.startsWith('0 x'));
  let count = 0;
  while (lines[from + count]?.startsWith(`${count} x`) === true) count += 1;
  for (const line of lines.slice(from, from + count - 1)) assert.ok(line.length > FLOOD.bytes);
  return count;
}

test('while the engine is frozen, killed or away the kernel bounds the log, and what is missing is told', {
  timeout: 600_000,
}, async () => {
  const { log: _log, ...options } = engineOptionsForTest();
  await mkdir(options.runDirectory, { recursive: true, mode: 0o711 });
  const command = ['sh', '-c', TALKER];
  const { child, container } = await startEngine({ engine: options, container: { command, log: LOG } });
  const { pid, logPath, id } = container;
  const exited = once(child, 'exit');
  let engine: OpenedEngine | undefined;
  /** The last file has been closed, and what is written goes to a new one; between the two there is none. */
  const turned = async (): Promise<void> => {
    const isNew = (): boolean => existsSync(logPath) && sizeOf(logPath) < LOG.maxBytes;
    await until(async () => sizeOf(`${logPath}.1`) === MOST && isNew(), 300);
    process.kill(pid, 'SIGUSR2');
    await until(async () => (await read(logPath)).lines.at(-1) === 'after', 300);
  };
  const joined = async (): Promise<void> => {
    const { lines, gaps } = await read(logPath);
    const there = floodLines(lines);
    assert.equal(lines.at(-1), 'after');
    assert.ok(there > 1000 && there < FLOOD.lines - 1000, String(there));
    assert.deepEqual(
      gaps.map(({ reason }) => reason),
      ['overrun'],
    );
    // The line that was cut counts here or there, or in both.
    const missing = FLOOD.lines - there;
    assert.ok(Math.abs((gaps[0]?.lines ?? 0) - missing) < missing / 20, `${gaps[0]?.lines} for ${missing}`);
  };
  try {
    await until(async () => (await read(logPath)).lines.includes('ready'), 60);
    // Of the container nothing is changed: the signal is as it is by default, and its own files have no limit.
    const ignored = /^SigIgn:\s+([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    assert.equal((BigInt(`0x${ignored}`) >> BigInt(constants.signals.SIGXFSZ - 1)) & 1n, 0n);
    assert.match(readFileSync(`/proc/${pid}/limits`, 'utf8'), /^Max file size\s+unlimited\s+unlimited/m);

    child.kill('SIGSTOP');
    await until(async () => /^State:\sT/m.test(readFileSync(`/proc/${child.pid}/status`, 'utf8')), 60);
    await flood(container);
    await until(async () => sizeOf(logPath) === MOST, 60);
    assert.ok(sizes(logPath) < MOST + MEBIBYTE, String(sizes(logPath)));
    child.kill('SIGCONT');
    await turned();
    await joined();

    child.kill('SIGKILL');
    await exited;
    await flood(container);
    await until(async () => sizeOf(logPath) === MOST, 60);
    assert.ok(sizes(logPath) < 2 * MOST + MEBIBYTE, String(sizes(logPath)));
    engine = await openEngine(options);
    await turned();
    await joined();
    await engine.close();
    // What was no longer needed has gone.
    assert.ok(sizes(logPath) < MOST + MEBIBYTE, String(sizes(logPath)));

    // It ends while nobody is there.
    await flood(container);
    await until(async () => sizeOf(logPath) === MOST, 60);
    process.kill(pid, 'SIGKILL');
    const missing = new Set([id]);
    await exitFiles(layout(options).exits, missing, AbortSignal.timeout(60_000));
    assert.equal(missing.size, 0);
    engine = await openEngine(options);
    const gaps: LogGap[] = [];
    for await (const _ of engine.logs(id, { onGap: (gap) => gaps.push(gap) }));
    assert.deepEqual(
      gaps.map(({ reason, lines }) => [reason, lines > 0]),
      [
        ['overrun', true],
        ['overrun', false],
      ],
    );
  } finally {
    child.kill('SIGKILL');
    await engine?.close();
    await removeAll(options);
  }
});

test('a log that is turned over while it is written is read whole, and once', { timeout: 600_000 }, async () => {
  await using host = await openEngineHost({ sandboxPool: 1 });
  const { engine, image } = host;
  const { id: sandbox } = await engine.createSandbox({ name: 'turns', hostname: 'turns' });
  const bursts = 5;
  const last = bursts * 20_000;
  // A burst at each signal, each of more than a file.
  const script = `n=0; burst() { seq $((1 + n * 20000)) $((20000 + n * 20000)); n=$((n + 1)); }
trap burst USR1; echo 0; while [ $n -lt ${bursts} ]; do sleep 0.05; done`;
  const log = { maxBytes: 128 * 1024, maxFiles: 9999 };
  const command = ['sh', '-c', script];
  const { id, logPath } = await engine.createContainer({ sandbox, name: 'main', image, command, log });
  await engine.startContainer(id);
  const gaps: LogGap[] = [];
  const numbers: number[] = [];
  const reading = (async () => {
    for await (const { line } of engine.logs(id, { follow: true, onGap: (gap) => gaps.push(gap) }))
      numbers.push(Number(line));
  })();
  for (let burst = 0; burst < bursts; burst += 1) {
    // What was said is read, and what is full was turned over; and before the first word a signal would be lost.
    await until(async () => numbers.at(-1) === burst * 20_000 && sizeOf(logPath) < log.maxBytes, 120);
    process.kill(engine.container(id)?.pid ?? 0, 'SIGUSR1');
  }
  await reading;
  assert.deepEqual(gaps, []);
  assert.equal(numbers.at(-1), last);
  assert.equal(numbers.length, last + 1);
  assert.ok(numbers.every((number, index) => number === index));
  assert.ok(readdirSync(dirname(logPath)).length >= bursts);
});

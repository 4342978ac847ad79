import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import test from 'node:test';
import type { AccessRecord } from '../model.ts';
import { openAccessLog } from './access-log.ts';

/** A line as HAProxy would write it. */
function line(token: string, sequence: number, worker = 7, userAgent = 'curl'): string {
  const numbers = `${sequence},${worker},1700000000,"008",0,2,12,-1,5,200,100,200`;
  const rest = ['10.0.0.1:999', '10.1.0.2:8080', 'web-1.3.h1.00000000', 'b0|web', '----', 'id', 'h.test', 'GET'];
  const json = [...rest, '/a?b', 'HTTP/1.1', userAgent, '-', '-'].map((value) => JSON.stringify(value)).join(',');
  return `["${token}",${numbers},${json}]`;
}

test('access log: gaps are counted, repetitions dropped, overtaking is neither', async () => {
  const log = await openAccessLog(undefined, () => undefined);
  const records: AccessRecord[] = [];
  log.onRecord((record) => records.push(record));
  const socket = connect(log.target.port, '127.0.0.1');
  const { token } = log.target;
  const numbers = [0, 2, 1, 2, 3, 1000];
  const text = numbers.map((number) => line(token, number)).concat(line(token, 0, 8));
  const bytes = Buffer.from(text.map((frame) => `${Buffer.byteLength(frame)} ${frame}`).join(''));
  // In pieces, as TCP may give them.
  for (let at = 0; at < bytes.length; at += 100) socket.write(bytes.subarray(at, at + 100));
  while (records.length < 6) await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(
    records.map(({ gap }) => gap),
    [0, 0, 0, 0, 740, 0],
  );
  assert.equal(log.lost(), 740);
  const [record] = records;
  assert.equal(record?.at, 1_700_000_000_010);
  assert.equal(record?.endpoint, 'web-1');
  assert.equal(record?.instance, 3);
  assert.equal(record?.queued, -1);
  assert.equal(record?.clientIp, '10.0.0.1');
  assert.equal(record?.referer, '');
  socket.destroy();
  await log.close();
});

test('access log: who does not know the word is shown out', async () => {
  const warnings: string[] = [];
  const log = await openAccessLog(undefined, (_level, message) => warnings.push(message));
  const records: AccessRecord[] = [];
  log.onRecord((record) => records.push(record));
  const frame = line('guess', 0);
  for (const text of [`${frame.length} ${frame}`, 'GET / HTTP/1.1\r\n\r\n', `99999999 x`, '3 {}}']) {
    const socket = connect(log.target.port, '127.0.0.1');
    socket.write(text);
    await once(socket, 'close');
  }
  assert.equal(records.length, 0);
  assert.equal(warnings.length, 4);
  await log.close();
});

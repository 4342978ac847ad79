import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fuzzMessages, questionOf } from '#testing/dns-fuzz.ts';
import { RecordType, ResponseCode, isReplyTo, readQuery, writeRefusal, writeReply } from './message.ts';

test('a question is read, in any case of letters', () => {
  const message = questionOf('DB.Back', RecordType.a);
  assert.deepEqual(readQuery(message), { id: 0x1234, name: 'db.back', type: 1, end: message.length });
});

test('what is no question is dropped or refused', () => {
  const question = questionOf('db', RecordType.a);
  const changed = (at: number, ...bytes: number[]): Buffer => {
    const copy = Buffer.from(question);
    copy.set(bytes, at);
    return copy;
  };
  assert.equal(readQuery(Buffer.alloc(11)), undefined);
  assert.equal(readQuery(changed(2, 0x80)), undefined, 'an answer');
  assert.equal(readQuery(changed(2, 0x28)), ResponseCode.notImplemented, 'an update');
  assert.equal(readQuery(changed(5, 0)), ResponseCode.formatError, 'no question');
  assert.equal(readQuery(changed(5, 2)), ResponseCode.formatError, 'two questions');
  assert.equal(readQuery(changed(12, 0xc0, 12)), ResponseCode.formatError, 'a pointer to itself');
  assert.equal(readQuery(changed(12, 63)), ResponseCode.formatError, 'a label beyond the end');
  assert.equal(readQuery(question.subarray(0, question.length - 1)), ResponseCode.formatError);
  assert.equal(readQuery(changed(question.length - 1, 3)), ResponseCode.refused, 'not of the internet');
  assert.equal(readQuery(questionOf(Array(9).fill('x'.repeat(60)).join('.'), 1)), ResponseCode.formatError, 'too long');
  const strange = readQuery(changed(13, 0x2e));
  assert.ok(typeof strange === 'object' && strange.name === undefined, 'a dot in a label');
});

test('a reply has the question, addresses and names, and says where it is cut', () => {
  const message = questionOf('db', RecordType.a);
  const query = readQuery(message);
  assert.ok(typeof query === 'object');
  const reply = writeReply(message, query, { answers: [{ type: 'a', ip: '172.20.0.7' }] });
  assert.ok(isReplyTo(reply, message, query.end));
  assert.deepEqual([reply.readUInt16BE(2), reply.readUInt16BE(6)], [0x8180, 1]);
  assert.deepEqual([...reply.subarray(-6)], [0, 4, 172, 20, 0, 7]);
  const six = writeReply(message, query, { answers: [{ type: 'aaaa', ip: 'fd00::7' }] });
  assert.deepEqual([six.readUInt16BE(query.end + 2), ...six.subarray(-18, -14)], [28, 0, 16, 0xfd, 0]);
  assert.equal(six.at(-1), 7);
  const many = Array.from({ length: 60 }, (_, index) => ({ type: 'a' as const, ip: `172.20.0.${index}` }));
  const cut = writeReply(message, query, { answers: many, limit: 512 });
  assert.ok(cut.length <= 512);
  assert.equal(cut.readUInt16BE(2) & 0x0200, 0x0200);
  assert.equal(cut.readUInt16BE(6), Math.floor((512 - query.end) / 16));
  const pointer = writeReply(message, query, { answers: [{ type: 'ptr', name: 'db.back' }] });
  assert.equal(pointer.toString('latin1', pointer.length - 9), '\x02db\x04back\0');
  assert.equal(writeRefusal(message, ResponseCode.refused).length, 12);
});

test('whatever bytes come, reading ends with a question, a code or nothing', () => {
  fuzzMessages(20_000);
});

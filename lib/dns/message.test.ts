import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fuzzMessages, questionOf } from '#testing/dns-fuzz.ts';
import { RecordType, ResponseCode, isReplyTo, readQuery } from './message.ts';
import { addressRecord, nameRecord, serviceRecord } from './record.ts';
import { sizeLimit, writeRefusal, writeReply } from './reply.ts';

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
  const reply = writeReply(message, query, { answers: [addressRecord('db', 5, '172.20.0.7')] });
  assert.ok(isReplyTo(reply, message, query.end));
  assert.deepEqual([reply.readUInt16BE(2), reply.readUInt16BE(6)], [0x8180, 1]);
  assert.deepEqual([...reply.subarray(-6)], [0, 4, 172, 20, 0, 7]);
  const many = Array.from({ length: 60 }, (_, index) => addressRecord('db', 5, `172.20.0.${index}`));
  const cut = writeReply(message, query, { answers: many, limit: 512 });
  assert.ok(cut.length <= 512);
  assert.equal(cut.readUInt16BE(2) & 0x0200, 0x0200);
  assert.equal(cut.readUInt16BE(6), Math.floor((512 - query.end) / 16));
  const pointer = writeReply(message, query, { answers: [nameRecord('ptr', 'db', 5, 'db.back')] });
  assert.equal(pointer.toString('latin1', pointer.length - 9), '\x02db\x04back\0');
  assert.equal(writeRefusal(message, ResponseCode.refused).length, 12);
});

test('EDNS: how much is taken, and which version is not spoken', () => {
  const question = questionOf('db', RecordType.a, { size: 4096 });
  const query = readQuery(question);
  assert.ok(typeof query === 'object');
  assert.deepEqual(query.edns, { size: 4096, version: 0, signatures: false });
  assert.deepEqual([sizeLimit(query, false), sizeLimit(query, true)], [1232, 65_535]);
  assert.equal(sizeLimit({ ...query, edns: { size: 100, version: 0, signatures: false } }, false), 512);
  const reply = writeReply(question, query, { answers: [addressRecord('db', 5, '172.20.0.7')] });
  assert.deepEqual([...reply.subarray(-11)], [0, 0, 41, 1232 >> 8, 1232 & 255, 0, 0, 0, 0, 0, 0]);
  assert.equal(reply.readUInt16BE(10), 1);
  const refused = writeReply(question, query, { code: ResponseCode.badVersion });
  assert.deepEqual([refused.readUInt16BE(2) & 15, refused.readUInt8(refused.length - 6)], [0, 1]);
  const twice = Buffer.concat([question, question.subarray(-11)]);
  twice.writeUInt16BE(2, 10);
  assert.equal(readQuery(twice), ResponseCode.formatError, 'two OPT records');
  assert.equal(readQuery(question.subarray(0, -1)), ResponseCode.formatError, 'half an OPT record');
});

test('names are written once, and in the letters of the question', () => {
  const question = questionOf('_Http._tcp.WEB.shop', RecordType.srv);
  const query = readQuery(question);
  assert.ok(typeof query === 'object');
  const target = { priority: 0, weight: 100, port: 80, target: 'web.shop' };
  const reply = writeReply(question, query, {
    answers: [serviceRecord('_http._tcp.web.shop', 5, target)],
    additional: [addressRecord('web.shop', 5, '10.86.0.7'), addressRecord('web.shop', 5, 'fd00::7')],
  });
  const text = reply.toString('latin1');
  assert.ok(text.includes('\x05_Http\x04_tcp\x03WEB\x04shop\0'));
  // The target whole, as RFC 2782 has it; the others by a pointer to the question.
  assert.equal(text.split('\x03web\x04shop\0').length, 2);
  assert.equal(reply.length, query.end + (12 + 6 + 10) + (12 + 4) + (12 + 16));
  assert.deepEqual([...reply.subarray(-16)], [0xfd, ...Array<number>(14).fill(0), 7]);
});

test('whatever bytes come, reading ends with a question, a code or nothing', () => {
  fuzzMessages(20_000);
});

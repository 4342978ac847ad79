import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ProtobufError, ProtobufWriter, protobufFields } from './protobuf.ts';

describe('protobuf', () => {
  it('writes the bytes of the specification', () => {
    // The examples of the encoding guide: Test1 {a: 150}, Test2 {b: "testing"}, Test3 {c: Test1}, and a negative number.
    assert.equal(new ProtobufWriter().int(1, 150).finish().toString('hex'), '089601');
    assert.equal(new ProtobufWriter().text(2, 'testing').finish().toString('hex'), '120774657374696e67');
    const inner = new ProtobufWriter().int(1, 150);
    assert.equal(new ProtobufWriter().bytes(3, inner).finish().toString('hex'), '1a03089601');
    assert.equal(new ProtobufWriter().int(1, -2).finish().toString('hex'), '08feffffffffffffffff01');
    assert.equal(new ProtobufWriter().int(1, 150).finish(5).length, 8);
  });

  it('reads every number that it writes', () => {
    const numbers = [
      0,
      1,
      127,
      128,
      16_383,
      16_384,
      2 ** 31,
      2 ** 32 + 5,
      2 ** 49 - 1,
      2 ** 49,
      2 ** 53 - 1,
      -1,
      -(2 ** 53),
    ];
    const writer = new ProtobufWriter();
    for (const [index, number] of numbers.entries()) writer.int(index + 1, number);
    assert.deepEqual(
      [...protobufFields(writer.finish())],
      numbers.map((value, index) => ({ number: index + 1, value })),
    );
  });

  it('passes over fixed widths, and refuses what is cut off or no field', () => {
    const fixed = Buffer.from('0d01020304110102030405060708089601', 'hex');
    assert.deepEqual([...protobufFields(fixed)], [{ number: 1, value: 150 }]);
    for (const broken of ['08', '0896', '1202ff', '0d010203', '0b', '08ffffffffffffffffffff01'])
      assert.throws(() => [...protobufFields(Buffer.from(broken, 'hex'))], ProtobufError, broken);
  });
});

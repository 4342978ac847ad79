import assert from 'node:assert/strict';
import { test } from 'node:test';
import { protobufBytes, protobufFields } from '#lib/protobuf.ts';
import { stageRequest } from './messages.ts';

/** VolumeCapability.AccessMode.Mode, as the driver reads it. */
function modeOf(accessMode: string, tellsWriters: boolean): unknown {
  const capability = { block: false, accessMode, fsType: '', mountFlags: [], tellsWriters };
  const common = { volumeId: 'v', publishContext: {}, stagingPath: '/s', secrets: {}, volumeContext: {} };
  const inside = (message: Buffer, field: number) =>
    [...protobufFields(message)].find(({ number }) => number === field)?.value;
  const sent = protobufBytes(inside(stageRequest({ ...common, capability }).finish(), 4));
  return inside(protobufBytes(inside(sent, 3)), 1);
}

test('access modes: drivers that tell one writer on a node from several are told which', () => {
  const modes = ['ReadWriteOnce', 'ReadWriteOncePod', 'ReadOnlyMany', 'ReadWriteMany'];
  assert.deepEqual(
    modes.map((mode) => modeOf(mode, false)),
    [1, 1, 3, 5],
  );
  assert.deepEqual(
    modes.map((mode) => modeOf(mode, true)),
    [7, 6, 3, 5],
  );
});

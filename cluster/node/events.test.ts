import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Client } from '../client/client.ts';
import type { Event } from '../kinds/types/core.ts';
import { createEventRecorder, type RecordedEvent } from './events.ts';

/** A mock of the two calls that are made: what counts here is how many there are. */
function recorder() {
  const created: Event[] = [];
  const patched: unknown[] = [];
  const client = {
    create: async (_resource: unknown, event: Event) => void created.push(structuredClone(event)),
    patch: async (_resource: unknown, _name: string, { body }: { body: unknown }) => void patched.push(body),
  };
  return { created, patched, events: createEventRecorder(client as unknown as Client, 'node-1', () => {}) };
}

const event = (message: string, uid = 'u'): RecordedEvent => ({
  type: 'Warning',
  reason: 'BackOff',
  message,
  object: { kind: 'Pod', name: 'a', namespace: 'space', uid },
});

test('the same thing said again raises the count', async () => {
  const { created, patched, events } = recorder();
  for (let index = 0; index < 3; index++) events.record(event('again'));
  events.record(event('other'));
  await events.close();
  assert.deepEqual(
    created.map(({ message, count }) => [message, count]),
    [
      ['again', 3],
      ['other', 1],
    ],
  );
  assert.equal(created[0]?.metadata.namespace, 'space');
  assert.equal(created[0]?.source?.host, 'node-1');
  events.record(event('again'));
  await events.close();
  assert.equal((patched[0] as Event).count, 4);
});

test('a pod that says too much is cut off, and others are not', async () => {
  const { created, events } = recorder();
  for (let index = 0; index < 100; index++) events.record(event(`number ${index}`));
  events.record(event('quiet', 'v'));
  await events.close();
  assert.equal(created.filter(({ involvedObject }) => involvedObject.uid === 'u').length, 25);
  assert.equal(created.filter(({ involvedObject }) => involvedObject.uid === 'v').length, 1);
});

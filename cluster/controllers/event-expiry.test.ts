import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { startControlPlane, until } from '#testing/control-plane.ts';
import { createEventRecorder } from '../client/event-recorder.ts';
import { events, namespaces } from '../kinds/resources.ts';
import { createEventExpiry } from './event-expiry.ts';

describe('events', () => {
  it('are counted when they repeat, and removed an hour after they were last seen', async () => {
    const plane = await startControlPlane();
    try {
      const namespace = await plane.namespace('events');
      const subject = await plane.client.get(namespaces, namespace);
      const recorder = createEventRecorder({
        client: plane.client,
        component: 'test',
        onError: (error) => assert.fail(String(error)),
      });
      const object = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p', namespace, uid: subject.metadata.uid } };
      recorder.record(object, { type: 'Warning', reason: 'Often', message: 'again' });
      recorder.record(object, { type: 'Warning', reason: 'Often', message: 'again' });
      recorder.record(object, { type: 'Normal', reason: 'Once', message: 'x'.repeat(5000) });
      await recorder.flush();
      const { items } = await plane.client.list(events, { namespace });
      assert.deepEqual(items.map(({ reason, count, message }) => [reason, count, message?.length]).toSorted(), [
        ['Often', 2, 5],
        ['Once', 1, 1024],
      ]);
      const old = await plane.client.create(events, {
        metadata: { name: 'old', namespace },
        involvedObject: { kind: 'Pod', name: 'p', namespace },
        reason: 'Old',
        lastTimestamp: '2020-01-01T00:00:00Z',
      });
      assert.ok(old);
      await plane.start(createEventExpiry({ sweepPeriod: 10 }));
      const left = await until(plane.client, events, namespace, (list) => list.every(({ reason }) => reason !== 'Old'));
      assert.equal(left.length, 2);
    } finally {
      await plane.close();
    }
  });
});

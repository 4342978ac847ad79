import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Event } from '../kinds/types/core.ts';
import type { Client } from './client.ts';
import { createEventRecorder } from './event-recorder.ts';

/** A server that answers when it is told to: how many writes are under way is what is looked at. */
function slowServer() {
  const under: (() => void)[] = [];
  const written: Event[] = [];
  const counts: number[] = [];
  let most = 0;
  const answer = async <T>(value: T): Promise<T> => {
    const { promise, resolve } = Promise.withResolvers<void>();
    under.push(resolve);
    most = Math.max(most, under.length);
    await promise;
    return value;
  };
  const client = {
    create: (_resource: unknown, event: Event) => {
      written.push(event);
      return answer({ ...event, metadata: { ...event.metadata } });
    },
    patch: (_resource: unknown, _name: string, { body }: { body: { count: number } }) => {
      counts.push(body.count);
      return answer({});
    },
  } as unknown as Client;
  /** Answers everything, also what only then is sent. */
  const answerAll = async (flushed: Promise<void>): Promise<void> => {
    let done = false;
    const end = flushed.then(() => (done = true));
    while (!done) {
      for (const resolve of under.splice(0)) resolve();
      await new Promise((resolve) => setImmediate(resolve));
    }
    await end;
  };
  return { client, written, counts, answerAll, most: () => most };
}

const object = (name: string) => ({ apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace: 'n', uid: name } });
const event = (message: string) => ({ type: 'Normal' as const, reason: 'R', message });

describe('event recorder', () => {
  it('writes a crowd a few at a time, in order, and flush waits for all of them', async () => {
    const server = slowServer();
    const recorder = createEventRecorder({ client: server.client, component: 'test' });
    for (let index = 0; index < 1000; index++) recorder.record(object(`p${index}`), event('m'));
    await server.answerAll(recorder.flush());
    assert.deepEqual(
      server.written.map(({ involvedObject }) => involvedObject.name),
      Array.from({ length: 1000 }, (_, index) => `p${index}`),
    );
    assert.ok(server.most() <= 4, `${server.most()} at once`);
  });

  it('counts what is said again, also while it was not written yet', async () => {
    const server = slowServer();
    const recorder = createEventRecorder({ client: server.client, component: 'test' });
    for (let index = 0; index < 10; index++) recorder.record(object('p'), event('m'));
    recorder.record(object('p'), event('other'));
    await server.answerAll(recorder.flush());
    assert.deepEqual(server.written.map(({ message }) => message).toSorted(), ['m', 'other']);
    assert.deepEqual(server.counts, [2, 3, 4, 5, 6, 7, 8, 9, 10]);
  });

  it('one that fails is told and lost, and holds up nobody', async () => {
    const errors: unknown[] = [];
    const client = { create: () => Promise.reject(new Error('no')) } as unknown as Client;
    const recorder = createEventRecorder({ client, component: 'test', onError: (error) => errors.push(error) });
    for (let index = 0; index < 20; index++) recorder.record(object(`p${index}`), event('m'));
    await recorder.flush();
    assert.equal(errors.length, 20);
  });
});

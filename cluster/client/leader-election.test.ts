import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startControlPlane, type ControlPlane, until } from '#testing/control-plane.ts';
import type { Stored } from '../kinds/kind.ts';
import { leases } from '../kinds/resources.ts';
import type { Lease } from '../kinds/types/coordination.ts';
import { type LeaderElection, leadWith } from './leader-election.ts';

describe('leader election', () => {
  let plane: ControlPlane;
  before(async () => {
    plane = await startControlPlane();
  });
  after(() => plane.close());

  /** Tells when its work begins and when it is told to end. */
  function candidate(name: string, identity: string, events: string[], leaseDuration = 1500): LeaderElection {
    const { client, context } = plane;
    return leadWith(
      { client, name, identity, signal: context.signal, log: () => undefined, leaseDuration },
      (signal) => {
        events.push(`${identity} leads`);
        signal.addEventListener('abort', () => events.push(`${identity} stops`), { once: true });
        return Promise.resolve({ close: () => Promise.resolve() });
      },
    );
  }
  const held = async (name: string, wanted: string): Promise<Stored<Lease>> => {
    const isIt = ({ metadata, spec }: Stored<Lease>): boolean =>
      metadata.name === name && spec?.holderIdentity === wanted;
    const found = (await until(plane.client, leases, 'kube-system', (list) => list.some(isIt))).find(isIt);
    assert.ok(found);
    return found;
  };

  it('one works at a time, the next when the first gives up', async () => {
    const events: string[] = [];
    // Nobody here waits until that has run out.
    const day = 86_400_000;
    const first = candidate('given', 'a', events, day);
    await first.began;
    const second = candidate('given', 'b', events, day);
    await first.close();
    await second.began;
    const lease = await held('given', 'b');
    assert.equal(lease.spec?.leaseTransitions, 1);
    await second.close();
    assert.deepEqual(events, ['a leads', 'a stops', 'b leads', 'b stops']);
  });

  it('one that was killed loses it when its time is over, and comes back at once before', async () => {
    const spec = { holderIdentity: 'dead', leaseDurationSeconds: 86_400, leaseTransitions: 0 };
    await plane.client.create(leases, { metadata: { name: 'killed', namespace: 'kube-system' }, spec });
    const events: string[] = [];
    const again = candidate('killed', 'dead', events);
    await again.began;
    await again.close();
    const lease = await held('killed', '');
    await plane.client.update(leases, { ...lease, spec: { ...spec, leaseDurationSeconds: 1 } });
    const waited = performance.now();
    const other = candidate('killed', 'other', events);
    await other.began;
    assert.ok(performance.now() - waited >= 900, 'the lease was not over');
    await other.close();
  });

  it('one that loses the lease stops', async () => {
    const stopped = Promise.withResolvers<void>();
    const first = leadWith(
      {
        client: plane.client,
        name: 'taken',
        identity: 'a',
        signal: plane.context.signal,
        log: () => undefined,
        leaseDuration: 1500,
      },
      (signal) => {
        signal.addEventListener('abort', () => stopped.resolve(), { once: true });
        return Promise.resolve({ close: () => Promise.resolve() });
      },
    );
    await first.began;
    await plane.client.patch(
      leases,
      'taken',
      { type: 'merge', body: { spec: { holderIdentity: 'thief', leaseDurationSeconds: 60 } } },
      { namespace: 'kube-system' },
    );
    await stopped.promise;
    await first.close();
    // What is no longer its own it did not give up.
    await held('taken', 'thief');
  });

  it('work that cannot begin ends it, and another may try', async () => {
    const failing = leadWith(
      { client: plane.client, name: 'failing', identity: 'a', signal: plane.context.signal, log: () => undefined },
      () => Promise.reject(new Error('no')),
    );
    await assert.rejects(failing.ended, /the work of failing could not begin/);
    await failing.close();
    await held('failing', '');
  });
});

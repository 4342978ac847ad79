import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type ControlPlane, startControlPlane } from '#testing/control-plane.ts';
import { configMaps } from '../kinds/resources.ts';
import type { Client } from './client.ts';
import { createClient } from './create.ts';
import { createInformer } from './informer.ts';
import { sharedInformer } from './shared-informer.ts';

describe('informer', () => {
  let plane: ControlPlane;
  let client: Client;
  let namespace: string;
  before(async () => {
    plane = await startControlPlane();
    client = createClient(plane.https());
    namespace = await plane.namespace('informer');
  });
  after(() => plane.close());

  const create = (name: string, by = client) => by.create(configMaps, { metadata: { name, namespace } });

  it('finds out what happened while the server was away, also when history is gone', async (context) => {
    const errors: unknown[] = [];
    const informer = createInformer(client, configMaps, { namespace, onError: (error) => errors.push(error) });
    context.after(() => informer.close());
    const changes: string[] = [];
    informer.onChange((now, old) => changes.push(`${now ? '+' : ''}${old ? '-' : ''}${(now ?? old)?.metadata.name}`));
    await create('stays');
    await create('goes');
    const first = await create('returns');
    await informer.reached(first.metadata.resourceVersion);
    changes.length = 0;
    for (const forget of [false, true]) {
      const start = await plane.restart();
      const suffix = forget ? 'late' : 'early';
      await start();
      // A write is sent once, and the old transport's kept connections are dead: writes go by another.
      const other = createClient(plane.https());
      await other.delete(configMaps, forget ? 'early' : 'goes', { namespace });
      await other.delete(configMaps, 'returns', { namespace });
      await create('returns', other);
      const last = await create(suffix, other);
      if (forget) await plane.store.compact(await plane.store.revision());
      await informer.reached(last.metadata.resourceVersion);
    }
    const names = informer.list().map(({ metadata }) => metadata.name);
    assert.deepEqual(names.toSorted(), ['late', 'returns', 'stays']);
    assert.deepEqual(changes.filter((change) => !change.endsWith('returns')).toSorted(), [
      '+early',
      '+late',
      '-early',
      '-goes',
    ]);
    assert.equal(changes.filter((change) => change === '-returns').length, 2);
    assert.equal(changes.filter((change) => change === '+returns').length, 2);
    assert.ok(errors.length > 0, 'what broke was told');
    await assert.rejects(createClosed(client), { reason: 'Closed' });
  });

  it('is shared by all who ask for the same, until the last one closes it', async () => {
    const one = sharedInformer(client, configMaps);
    const two = sharedInformer(client, configMaps, { initial: ({ metadata }) => [metadata.name.slice(0, 1)] });
    await Promise.all([one.synced, two.synced]);
    let heard = 0;
    one.onChange(() => heard++);
    const shared = await create('shared');
    await two.reached(shared.metadata.resourceVersion);
    assert.equal(two.get('shared', namespace), one.get('shared', namespace));
    assert.deepEqual(
      two
        .byIndex('initial', 's')
        .map(({ metadata }) => metadata.name)
        .toSorted(),
      ['shared', 'stays'],
    );
    assert.equal(heard, 1);
    one.close();
    one.close();
    const later = await create('second');
    await two.reached(later.metadata.resourceVersion);
    assert.equal(heard, 1, 'a closed sharer hears nothing');
    two.close();
  });
});

async function createClosed(client: Client): Promise<void> {
  const informer = createInformer(client, configMaps);
  informer.close();
  await informer.synced;
}

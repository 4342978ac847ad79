/** The API while its store says nothing: a real etcd that is stopped. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type ApiFixture, apiFixture, take } from '#testing/apiserver-fixture.ts';
import { type Etcd, startEtcd } from '#testing/etcd.ts';
import { openEtcdStore } from '../store/etcd/open.ts';

const MAPS = '/api/v1/namespaces/default/configmaps';

describe('API server: the store is away', () => {
  let etcd: Etcd;
  let fixture: ApiFixture;
  before(async () => {
    etcd = await startEtcd();
    const store = await openEtcdStore({ endpoints: etcd.endpoints, prefix: '/away', timeoutMilliseconds: 700 });
    fixture = await apiFixture({
      wrapStore: (disk) => {
        void disk.close();
        return store;
      },
    });
  });
  after(async () => {
    await fixture.close();
    await etcd.stop();
  });

  const write = (name: string) => fixture.call('POST', MAPS, { body: { metadata: { name } } });

  test('reads go on; a write is answered 504 as long as nobody knows, and afterwards there is one truth', async () => {
    assert.equal((await write('before')).status, 201);
    const events = await fixture.watch(`${MAPS}?watch=1`);
    await take(events, 1);
    await etcd.members[0]?.pause();
    const lost = await write('lost');
    assert.deepEqual([lost.status, lost.json.reason], [504, 'Timeout'], lost.text);
    assert.match(lost.json.message, /did not complete within the allotted time: .*did not say whether it was done/);
    assert.equal((await fixture.call('GET', `${MAPS}/before`)).status, 200);
    etcd.members[0]?.resume();
    // Somebody who knows no better tries again.
    let again = await write('lost');
    while (again.status >= 500) again = await write('lost');
    assert.ok(again.status === 201 || again.json.reason === 'AlreadyExists', again.text);
    const [event] = await take(events, 1);
    assert.deepEqual([event?.type, event?.object.metadata.name], ['ADDED', 'lost']);
    assert.equal((await fixture.call('GET', MAPS)).json.items.length, 2);
    await events.return(undefined);
  });

  test('a write that etcd cannot have seen is answered 503, and did not happen', async () => {
    await etcd.members[0]?.kill();
    const refused = await write('refused');
    assert.deepEqual([refused.status, refused.json.reason], [503, 'ServiceUnavailable'], refused.text);
    await etcd.members[0]?.start();
    let next = await write('next');
    while (next.status >= 500) next = await write('next');
    assert.equal(next.status, 201);
    assert.equal((await fixture.call('GET', `${MAPS}/refused`)).status, 404);
  });
});

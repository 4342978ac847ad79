import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { HostError } from '../host-error.ts';
import { chooseStore, type StoreFlags, sqlitePath } from './settings.ts';

const owner = { name: 'box', id: 'its-id' };
const endpoints = 'https://10.0.0.1:2379,https://10.0.0.2:2379';

function refuses(why: RegExp, flags: StoreFlags, known?: Parameters<typeof chooseStore>[1]): void {
  assert.throws(
    () => chooseStore(flags, known, owner),
    (error) => error instanceof HostError && why.test(`${error.message} ${error.remedy}`),
    String(why),
  );
}

test('what is chosen first is kept, and where it is reached may change', () => {
  const dataDirectory = mkdtempSync(join(tmpdir(), 'sampan-settings-'));
  try {
    assert.equal(chooseStore({}, undefined, owner), undefined);
    const chosen = chooseStore({ store: 'etcd', etcdEndpoints: endpoints }, undefined, owner);
    assert.deepEqual(chosen, {
      endpoints: endpoints.split(','),
      prefix: '/sampan/box',
      half: 'a',
      owner: 'its-id',
    });
    const file = join(dataDirectory, 'pem');
    writeFileSync(file, '');
    const known = { dataDirectory, store: chosen };
    const tls = { etcdCa: file, etcdCert: file, etcdKey: file };
    assert.deepEqual(chooseStore({ etcdEndpoints: 'https://10.0.0.3:2379', ...tls }, known, owner), {
      ...chosen,
      endpoints: ['https://10.0.0.3:2379'],
      ca: file,
      cert: file,
      key: file,
    });
    assert.deepEqual(chooseStore({}, known, owner), chosen);
    refuses(/in etcd, not in sqlite \(--store\).*store move --to sqlite/, { store: 'sqlite' }, known);
    refuses(/below \/sampan\/box in etcd, not below \/other/, { etcdPrefix: '/other' }, known);
    // An instance that has no state yet may choose: the engine ran alone.
    assert.ok(chooseStore({ store: 'etcd', etcdEndpoints: endpoints }, { dataDirectory }, owner));
    mkdirSync(join(dataDirectory, 'cluster'));
    writeFileSync(sqlitePath(dataDirectory), '');
    refuses(/in sqlite, not in etcd/, { store: 'etcd', etcdEndpoints: endpoints }, { dataDirectory });
  } finally {
    rmSync(dataDirectory, { recursive: true });
  }
});

test('what cannot be is refused with flag and remedy', () => {
  const etcd = { store: 'etcd', etcdEndpoints: endpoints };
  refuses(/Cannot use "zookeeper" as a store.*sqlite or etcd/, { store: 'zookeeper' });
  refuses(/--etcd-endpoints is missing/, { store: 'etcd' });
  refuses(/--etcd-ca is of no use.*--store etcd/, { etcdCa: '/x' });
  for (const one of ['10.0.0.1:2379', 'http://10.0.0.1:2379', 'ftp://10.0.0.1', 'https://10.0.0.1/x', ''])
    refuses(/in --etcd-endpoints: it is no https:\/\/HOST:PORT/, {
      ...etcd,
      etcdEndpoints: `https://10.0.0.1:2379,${one}`,
    });
  assert.ok(chooseStore({ ...etcd, etcdEndpoints: 'http://127.0.0.1:2379,http://[::1]:2379' }, undefined, owner));
  for (const prefix of ['sampan', '/', '/a/', '/a b', '/a\u0000'])
    refuses(/as --etcd-prefix/, { ...etcd, etcdPrefix: prefix });
  refuses(/as --etcd-ca: there is no such file/, { ...etcd, etcdCa: '/none' });
  refuses(/--etcd-cert is of no use alone/, { ...etcd, etcdCert: '/etc/passwd' });
});

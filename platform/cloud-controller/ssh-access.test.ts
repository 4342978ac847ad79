import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { users } from '../resources/types.ts';
import { SshRefusal } from '../ssh/ssh.ts';
import type { Identity } from '../uaa/uaa.ts';
import { putUser } from '../uaa/users.ts';
import type { Json } from './api.ts';
import { startTestCloud, type TestCloud } from './cloud.fixture.ts';
import { makeApp } from './made-app.fixture.ts';

const PATIENCE = 60_000;
const one = (guid: string) => ({ data: { guid } });

let cloud: TestCloud;
let organization: string;
let space: string;
let app: string;

before(async () => {
  cloud = await startTestCloud();
  organization = String((await cloud.json('POST', '/v3/organizations', { name: 'doors' })).guid);
  space = String(
    (await cloud.json('POST', '/v3/spaces', { name: 's', relationships: { organization: one(organization) } })).guid,
  );
  ({ app } = await makeApp(cloud, 'web', space));
  await cloud.json('POST', `/v3/apps/${app}/actions/start`);
  await cloud.until('it runs', async () => {
    const [first] = (await cloud.json('GET', `/v3/processes/${app}/stats`)).resources as Json[];
    return first?.state === 'RUNNING';
  });
});
after(() => cloud?.close());

async function developer(name: string): Promise<{ identity: Identity; role: string }> {
  const guid = await putUser(cloud.plane.client, { username: name, password: 'secret', groups: [] });
  await cloud.login(name, 'secret');
  const grant = (type: string, place: Json) =>
    cloud.json('POST', '/v3/roles', { type, relationships: { user: one(guid), ...place } });
  await grant('organization_user', { organization: one(organization) });
  const role = String((await grant('space_developer', { space: one(space) })).guid);
  const identity: Identity = {
    ...{ userId: guid, userName: name, clientId: 'ssh-proxy', origin: 'uaa' },
    ...{ scopes: ['cloud_controller.write'], admin: false, reads: 'own' },
  };
  return { identity, role };
}

const enter = (identity: Identity, gone = new AbortController()) =>
  cloud.api.sshAccess(identity, { process: app, index: 0 }, gone.signal);

async function ends(revoked: AbortSignal, reason: RegExp): Promise<void> {
  if (!revoked.aborted)
    await new Promise<void>((done, fail) => {
      const late = setTimeout(() => fail(new Error(`it did not end in ${PATIENCE} ms`)), PATIENCE);
      revoked.addEventListener('abort', () => done(clearTimeout(late)), { once: true });
    });
  assert.match(String(revoked.reason), reason);
}

test('who was let in is so until the right is taken away: the role, the permission of app and space, the user', async () => {
  const [dora, sam, admin] = [await developer('dora'), await developer('sam'), await developer('root')];
  const chief = { ...admin.identity, admin: true };
  const [hers, his, its] = await Promise.all([dora.identity, sam.identity, chief].map((who) => enter(who)));
  await cloud.call('DELETE', `/v3/roles/${dora.role}`);
  assert.ok(hers && his && its);
  await ends(hers.revoked, /they may no longer change the app/);
  await assert.rejects(enter(dora.identity), SshRefusal);
  assert.equal(his.revoked.aborted, false, 'another one stays');

  const user = await cloud.plane.client.get(users, sam.identity.userId);
  await cloud.plane.client.update(users, { ...user, spec: { ...user.spec, active: false } });
  await ends(his.revoked, /the user is gone/);

  const eve = await developer('eve');
  const suspended = await enter(eve.identity);
  await cloud.json('PATCH', `/v3/organizations/${organization}`, { suspended: true });
  await ends(suspended.revoked, /they may no longer change the app/);
  await cloud.json('PATCH', `/v3/organizations/${organization}`, { suspended: false });
  assert.equal(its.revoked.aborted, false, 'an administrator stays');

  const again = await enter(eve.identity);
  await cloud.json('PATCH', `/v3/apps/${app}/features/ssh`, { enabled: false });
  await ends(again.revoked, /ssh is disabled for app/);
  await ends(its.revoked, /ssh is disabled for app/);
  await cloud.json('PATCH', `/v3/apps/${app}/features/ssh`, { enabled: true });

  const last = await enter(chief);
  await cloud.call('DELETE', `/v3/apps/${app}`);
  await ends(last.revoked, /the app is gone/);
});

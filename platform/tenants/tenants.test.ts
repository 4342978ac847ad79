/** Who is logged in at UAA, and comes to the Kubernetes API with the stock kubectl. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Json } from '../cloud-controller/api.ts';
import { startTestCloud, type TestCloud } from '../cloud-controller/cloud.fixture.ts';
import { makeApp } from '../cloud-controller/made-app.fixture.ts';
import { putUser } from '../uaa/users.ts';

let cloud: TestCloud;
let directory: string;
let space: string;
let organization: string;
let namespace: string;

before(async () => {
  cloud = await startTestCloud({ found: true });
  directory = mkdtempSync(join(tmpdir(), 'sampan-tenants-'));
  space = String(((await cloud.json('GET', '/v3/spaces')).resources as Json[])[0]?.guid);
  organization = String(((await cloud.json('GET', '/v3/organizations')).resources as Json[])[0]?.guid);
  namespace = String(cloud.api.context.records.spaces.get(space)?.spec.namespace);
  await makeApp(cloud, 'shop', space);
});
after(async () => {
  await cloud?.close();
  rmSync(directory, { recursive: true, force: true });
});

const one = (guid: string) => ({ data: { guid } });

async function give(name: string, type: string, place: Json): Promise<string> {
  const user = await putUser(cloud.plane.client, { username: name, password: 'secret' });
  const made = await cloud.json('POST', '/v3/roles', { type, relationships: { user: one(user), ...place } });
  return String(made.guid);
}

const member = (name: string) => give(name, 'organization_user', { organization: one(organization) });

async function tokens(name: string): Promise<{ access: string; refresh: string }> {
  const { body } = await cloud.login(name, 'secret');
  return { access: String(body.access_token), refresh: String(body.refresh_token) };
}

/** What kubectl prints, or its error, for the bearer of a token. */
function kubectl(token: string, ...words: string[]): Promise<string> {
  const { url, ca } = cloud.plane.address;
  const config = join(directory, 'kubeconfig');
  const cluster = { server: url, 'certificate-authority-data': Buffer.from(ca ?? '').toString('base64') };
  writeFileSync(
    config,
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'c', cluster }],
      users: [{ name: 'u', user: { token } }],
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u', namespace } }],
      'current-context': 'x',
    }),
  );
  return new Promise((resolve) => {
    execFile('kubectl', ['--kubeconfig', config, ...words], (_error, stdout, stderr) => resolve(`${stdout}${stderr}`));
  });
}

test('a space developer reads what the platform made in the space, and writes nothing; others read nothing there', async () => {
  await member('dev');
  await give('dev', 'space_developer', { space: one(space) });
  const { access } = await tokens('dev');
  await cloud.until('the rights of the role', async () => /shop/.test(await kubectl(access, 'get', 'apps')));
  assert.match(await kubectl(access, 'get', 'processes.platform.sampan.dev'), /web/);
  assert.match(await kubectl(access, 'auth', 'whoami'), /cf:[0-9a-f-]{36}/);
  assert.match(await kubectl(access, 'get', 'secrets'), /Forbidden/);
  assert.match(await kubectl(access, 'delete', 'apps', '--all'), /Forbidden/);
  assert.match(await kubectl(access, 'run', 'x', '--image', 'x'), /Forbidden/);
  assert.match(await kubectl(access, 'get', 'apps', '-A'), /Forbidden/);
  assert.match(await kubectl(access, 'get', 'pods', '-n', 'kube-system'), /Forbidden/);
  await member('eve');
  assert.match(await kubectl((await tokens('eve')).access, 'get', 'apps'), /Forbidden/);
});

test('an auditor reads apps and events, and no command or variable', async () => {
  await member('ann');
  await give('ann', 'space_auditor', { space: one(space) });
  const { access } = await tokens('ann');
  await cloud.until('the rights of the role', async () => /shop/.test(await kubectl(access, 'get', 'apps')));
  for (const kind of ['pods', 'tasks', 'revisions', 'processes.platform.sampan.dev', 'configmaps'])
    assert.match(await kubectl(access, 'get', kind), /Forbidden/, kind);
});

test('rights go with the role; a refresh token, and one of somebody else, are nobody', async () => {
  await member('tom');
  const role = await give('tom', 'space_developer', { space: one(space) });
  const { access, refresh } = await tokens('tom');
  await cloud.until('the rights of the role', async () => /shop/.test(await kubectl(access, 'get', 'apps')));
  assert.match(await kubectl(refresh, 'get', 'apps'), /Unauthorized|must be logged in/);
  assert.match(await kubectl(`${access}x`, 'get', 'apps'), /Unauthorized|must be logged in/);
  await cloud.finished(await cloud.call('DELETE', `/v3/roles/${role}`));
  await cloud.until('the rights to go', async () => /Forbidden/.test(await kubectl(access, 'get', 'apps')));
});

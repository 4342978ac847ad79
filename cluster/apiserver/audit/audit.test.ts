import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type ApiFixture, apiFixture } from '#testing/apiserver-fixture.ts';
import { type AuditLog, openAuditLog } from './log.ts';
import { type AuditPolicy, BUILTIN_POLICY, decide, readAuditPolicy } from './policy.ts';

interface Noted {
  level: string;
  stage: string;
  verb: string;
  auditID: string;
  requestURI: string;
  user: { username: string };
  impersonatedUser?: { username: string };
  objectRef?: { resource: string; name?: string; namespace?: string; apiVersion?: string; subresource?: string };
  responseStatus?: { code: number; reason?: string };
  requestObject?: { metadata?: { managedFields?: unknown } };
  responseObject?: { metadata?: { managedFields?: unknown; uid?: string }; kind?: string };
  annotations?: Record<string, string>;
}

const POLICY: AuditPolicy = {
  omitManagedFields: true,
  rules: [
    { level: 'None', nonResourceURLs: ['/*'] },
    { level: 'None', users: ['admin'], verbs: ['get'] },
    { level: 'RequestResponse', resources: [{ group: '', resources: ['secrets', 'configmaps'] }] },
    {
      level: 'Request',
      namespaces: ['default'],
      resources: [{ group: '', resources: ['pods'] }],
      omitStages: ['RequestReceived'],
    },
    { level: 'Metadata' },
  ],
};
const quiet = () => undefined;

describe('audit log', () => {
  let directory: string;
  let path: string;
  let log: AuditLog;
  let fixture: ApiFixture;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'sampan-audit-'));
    path = join(directory, 'audit.log');
    log = await openAuditLog({ path, log: quiet });
    fixture = await apiFixture({ audit: { policy: POLICY, log } });
  });
  after(async () => {
    await fixture.close();
    await log.close();
    await rm(directory, { recursive: true });
  });

  const noted = async (uri: RegExp): Promise<Noted[]> => {
    await log.flush();
    const lines = (await readFile(path, 'utf8')).trim().split('\n');
    return lines.map((line) => JSON.parse(line) as Noted).filter(({ requestURI }) => uri.test(requestURI));
  };

  test('who did what, with how much of it the policy says', async () => {
    const maps = '/api/v1/namespaces/default/configmaps';
    const body = { metadata: { name: 'm' }, data: { a: 'b' } };
    const answer = await fixture.call('POST', `${maps}?fieldManager=x`, { body });
    const [received, complete, ...more] = await noted(/fieldManager=x/);
    assert.deepEqual([received?.stage, complete?.stage, more.length], ['RequestReceived', 'ResponseComplete', 0]);
    assert.deepEqual([received?.auditID, complete?.auditID], Array(2).fill(answer.headers['audit-id']));
    assert.deepEqual(complete?.user, { username: 'admin', groups: ['system:masters', 'system:authenticated'] });
    assert.deepEqual(complete?.objectRef, { resource: 'configmaps', namespace: 'default', apiVersion: 'v1' });
    assert.equal(complete?.responseStatus?.code, 201);
    assert.deepEqual(complete?.requestObject, { metadata: { name: 'm' }, data: { a: 'b' } });
    assert.ok(complete?.responseObject?.metadata?.uid);
    assert.equal(complete?.responseObject?.metadata?.managedFields, undefined);
    assert.equal(complete?.annotations?.['authorization.k8s.io/decision'], 'allow');
    const named = await fixture.call('GET', `${maps}/m`, { headers: { 'audit-id': 'mine' } });
    assert.equal(named.headers['audit-id'], 'mine');
    assert.deepEqual(await noted(/configmaps\/m$/), []);
  });

  test('a Secret is never in it, whatever the policy says', async () => {
    const body = { metadata: { name: 's' }, stringData: { password: 'never-in-a-log' } };
    await fixture.call('POST', '/api/v1/namespaces/default/secrets', { body });
    await fixture.call('PATCH', '/api/v1/namespaces/default/secrets/s', {
      body: { stringData: { password: 'never-in-a-log' } },
      headers: { 'content-type': 'application/merge-patch+json' },
    });
    const events = await noted(/secrets/);
    assert.deepEqual([...new Set(events.map(({ level }) => level))], ['Metadata']);
    const text = await readFile(path, 'utf8');
    for (const form of ['never-in-a-log', Buffer.from('never-in-a-log').toString('base64')])
      assert.ok(!text.includes(form));
  });

  test('refusals, impersonation, Pod Security and streams', async () => {
    const jane = await fixture.issue('jane');
    await fixture.call('GET', '/api/v1/namespaces/default/pods?limit=3', { as: jane });
    const [refused] = await noted(/limit=3/);
    assert.deepEqual([refused?.responseStatus?.code, refused?.responseStatus?.reason], [403, 'Forbidden']);
    assert.equal(refused?.annotations?.['authorization.k8s.io/decision'], 'forbid');
    await fixture.call('DELETE', '/api/v1/namespaces/default/pods/none', { headers: { 'impersonate-user': 'jane' } });
    const [acted] = await noted(/pods\/none$/);
    assert.deepEqual([acted?.user.username, acted?.impersonatedUser?.username], ['admin', 'jane']);
    const labels = { 'pod-security.kubernetes.io/audit': 'baseline' };
    await fixture.call('POST', '/api/v1/namespaces', { body: { metadata: { name: 'watched', labels } } });
    const pod = { metadata: { name: 'p' }, spec: { hostNetwork: true, containers: [{ name: 'c', image: 'i' }] } };
    await fixture.call('POST', '/api/v1/namespaces/watched/pods', { body: pod });
    const made = (await noted(/watched\/pods$/)).find(({ stage }) => stage === 'ResponseComplete');
    assert.equal(
      made?.annotations?.['pod-security.kubernetes.io/audit-violations'],
      'would violate PodSecurity "baseline:latest": host namespaces (hostNetwork=true)',
    );
    const shell = await fixture.kubectl(['exec', 'none', '--', 'sh']);
    assert.notEqual(shell.code, 0);
    const events = await fixture.watch('/api/v1/namespaces/default/pods?watch=1&limit=9');
    await events.return(undefined);
    const stages = (await noted(/limit=9/)).map(({ stage }) => stage);
    assert.equal(stages[0], 'ResponseStarted');
  });

  test('policies: the first rule that matches, and those that cannot be used', async () => {
    const user = { name: 'jane', groups: ['dev'] };
    const of = (policy: AuditPolicy, verb: string, where: string, who = user) => {
      const [group = '', resource = '', subresource = '', namespace = '', name = ''] = where.split('|');
      const asked = { user: who, verb, path: '/x' };
      return decide(
        policy,
        where === '' ? asked : { ...asked, resource: { group, resource, subresource, namespace, name } },
      ).level;
    };
    const rules = (...list: AuditPolicy['rules']) => ({ rules: list });
    assert.equal(of(rules(), 'get', '|pods|||'), 'None');
    assert.equal(
      of(rules({ level: 'Request', userGroups: ['dev'], verbs: ['delete'] }), 'delete', '|pods|||'),
      'Request',
    );
    assert.equal(of(rules({ level: 'Request', userGroups: ['ops'] }), 'delete', '|pods|||'), 'None');
    const inPods = (resources: string[], resourceNames?: string[]) =>
      rules({ level: 'Request', resources: [{ group: '', resources, ...(resourceNames ? { resourceNames } : {}) }] });
    assert.equal(of(inPods(['pods']), 'get', '|pods|log||'), 'None');
    assert.equal(of(inPods(['pods/*']), 'get', '|pods|log||'), 'Request');
    assert.equal(of(inPods(['*/log']), 'get', '|pods|log||'), 'Request');
    assert.equal(of(inPods(['pods'], ['a']), 'get', '|pods|||b'), 'None');
    assert.equal(of(rules({ level: 'Request' }), 'create', '|serviceaccounts|token|default|x'), 'Metadata');
    assert.equal(of(BUILTIN_POLICY, 'list', '|secrets||default|'), 'Metadata');
    assert.equal(of(BUILTIN_POLICY, 'update', 'coordination.k8s.io|leases||default|x'), 'None');
    const file = join(directory, 'policy.yaml');
    const read = async (text: string) => {
      await writeFile(file, text);
      return readAuditPolicy(file);
    };
    const head = 'apiVersion: audit.k8s.io/v1\nkind: Policy\n';
    assert.equal((await read(`${head}rules:\n- level: Metadata\n`)).rules.length, 1);
    await assert.rejects(
      read(`${head}rules:\n- level: Everything\n`),
      /rules\[0\]\.level is "Everything": use one of None, Metadata, Request, RequestResponse/,
    );
    await assert.rejects(read('kind: Policy\n'), /it needs apiVersion "audit\.k8s\.io\/v1"/);
    await assert.rejects(read(`${head}rules: []\n`), /it has no rules/);
  });

  test('a full file is put aside, old ones go, and what the disk cannot take in time is counted', async () => {
    const small = join(directory, 'small');
    const rotating = await openAuditLog({ path: `${small}.log`, maxBytes: 1000, maxBackups: 2, log: quiet });
    for (let index = 0; index < 8; index++) {
      rotating.write({ index, text: 'x'.repeat(1000) });
      await rotating.flush();
    }
    await rotating.close();
    const files = (await readdir(directory)).filter((name) => name.startsWith('small'));
    assert.equal(files.length, 3, files.join(' '));
    assert.match(await readFile(`${small}.log`, 'utf8'), /^\{"index":7,/);
    assert.equal((await stat(`${small}.log`)).mode & 0o777, 0o600);
    const told: string[] = [];
    const full = await openAuditLog({
      path: join(directory, 'full.log'),
      maxBuffered: 100,
      log: (_level, message) => told.push(message),
    });
    for (let index = 0; index < 10; index++) full.write({ index, text: 'x'.repeat(60) });
    await full.flush();
    assert.deepEqual([full.written, full.dropped], [2, 8]);
    assert.deepEqual(told, ['events were left out of the audit log']);
    full.write({ after: true });
    await full.close();
    assert.equal(full.written, 3);
  });
});

/** A pod that uses the API: with the token, the authority and the address that every pod gets. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { clusterRoleBindings, pods } from '#cluster/kinds/resources.ts';
import type { Pod } from '#cluster/kinds/types/core.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import { type AgentFixture, agentFixture } from './agent-fixture.ts';
import { claimOctet } from './claim-octet.ts';
import { hostTools } from './host-tools.ts';

const namespace = 'default';
const ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';
let bed: AgentFixture;

before(async () => {
  bed = await agentFixture(await claimOctet(), {
    inCluster: true,
    policy: { hostPaths: ['/'] },
    renewTokensAfter: 1_000,
  });
});
after(() => bed.close());

const kubectl = execFileSync('sh', ['-c', 'readlink -f "$(command -v kubectl)"'], { encoding: 'utf8' }).trim();
const { volumes, volumeMounts } = hostTools({ '/node': process.execPath, '/kubectl': kubectl });

/** Runs it to its end, with the tools, and gives what it said. */
async function run(name: string, command: string[]): Promise<string> {
  await bed.client.create(pods, {
    metadata: { name, namespace },
    spec: {
      restartPolicy: 'Never',
      nodeName: bed.nodeName,
      containers: [
        {
          name: 'main',
          image: bed.image,
          imagePullPolicy: 'IfNotPresent',
          command,
          volumeMounts,
        },
      ],
      volumes,
    },
  });
  const ended = await bed.until(name, 'ended', (pod) => /^(Succeeded|Failed)$/.test(pod?.status?.phase ?? ''));
  const said = await text(await bed.client.podLog({ name, namespace }, {}));
  assert.equal(phaseOf(ended), 'Succeeded', said);
  await bed.client.delete(pods, name, { namespace, gracePeriodSeconds: 0 });
  await bed.until(name, 'gone', (pod) => pod === undefined);
  return said;
}

const phaseOf = (pod: Stored<Pod>) => pod.status?.phase;

test('stock kubectl finds the cluster from inside, and is who the pod is', async () => {
  const script = `ls ${ACCOUNT} | sort | tr '\\n' ' '; cat ${ACCOUNT}/namespace; echo; HOME=/tmp /kubectl auth whoami -o json`;
  const said = await run('busy', ['sh', '-c', script]);
  const [files, ...rest] = said.trim().split('\n');
  assert.equal(files, `ca.crt namespace token ${namespace}`);
  const { userInfo } = (JSON.parse(rest.join('')) as { status: { userInfo: Record<string, unknown> } }).status;
  assert.equal(userInfo['username'], `system:serviceaccount:${namespace}:default`);
  const extra = userInfo['extra'] as Record<string, string[]>;
  assert.deepEqual(extra['authentication.kubernetes.io/pod-name'], ['busy']);
  assert.deepEqual(extra['authentication.kubernetes.io/node-name'], [bed.nodeName]);
});

test('a client that checks the certificate has the rights of its account, and no others', async () => {
  await bed.client.create(clusterRoleBindings, {
    metadata: { name: 'viewer' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'system:node-proxier' },
    subjects: [{ kind: 'ServiceAccount', name: 'default', namespace }],
  });
  const program = `
    const fs = require('fs'), https = require('https');
    const read = (name) => fs.readFileSync('${ACCOUNT}/' + name, 'utf8');
    const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = process.env;
    const get = (path) => new Promise((resolve, reject) => https.get(
      { host, port, path, ca: read('ca.crt'), headers: { authorization: 'Bearer ' + read('token') } },
      (response) => { response.resume(); response.on('end', () => resolve(response.statusCode)); }).on('error', reject));
    Promise.all([get('/api/v1/services'), get('/api/v1/nodes'), get('/api/v1/secrets')]).then((all) => console.log(all.join(' ')));`;
  const said = await run('checked', ['/node', '-e', program]);
  assert.equal(said.trim(), '200 200 403');
});

test('a running pod is given new tokens, that are as good as the first', async () => {
  const script = `
    first=$(cat ${ACCOUNT}/token)
    while [ "$first" = "$(cat ${ACCOUNT}/token)" ]; do sleep 0.05; done
    HOME=/tmp /kubectl auth whoami -o jsonpath={.status.userInfo.username}`;
  assert.equal((await run('renewed', ['sh', '-c', script])).trim(), `system:serviceaccount:${namespace}:default`);
});

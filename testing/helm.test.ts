/** A chart by a stock helm, and a pod's processes by a stock client library: with controllers, scheduler and a node. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Writable } from 'node:stream';
import { after, before, describe, test } from 'node:test';
import { CoreV1Api, Exec, KubeConfig, type V1Status } from '@kubernetes/client-node';
import { createDeploymentController } from '#cluster/controllers/deployment.ts';
import { createEndpointSliceController } from '#cluster/controllers/endpoint-slice.ts';
import { createJobController } from '#cluster/controllers/job.ts';
import { createReplicaSetController } from '#cluster/controllers/replica-set.ts';
import { type AgentFixture, agentFixture } from './agent-fixture.ts';
import { runKubectl } from './agent-kubectl-run.ts';
import { claimOctet } from './claim-octet.ts';

const missing = spawnSync('helm', ['version']).error ? 'helm is not installed' : false;

const CHART: Record<string, string> = {
  'Chart.yaml': 'apiVersion: v2\nname: sample\nversion: 0.1.0\n',
  'values.yaml': 'image: ""\ncommand: sleep 1000\nreplicas: 1\nlevel: 1\n',
  'crds/levels.yaml': `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: levels.sample.example.com }
spec:
  group: sample.example.com
  scope: Namespaced
  names: { plural: levels, singular: level, kind: Level, listKind: LevelList }
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              x-kubernetes-validations: [{ rule: self.level >= oldSelf.level, message: levels only rise }]
              properties: { level: { type: integer } }
`,
  'templates/level.yaml': `
apiVersion: sample.example.com/v1
kind: Level
metadata: { name: "{{ .Release.Name }}" }
spec: { level: {{ .Values.level }} }
`,
  'templates/deployment.yaml': `
apiVersion: apps/v1
kind: Deployment
metadata: { name: "{{ .Release.Name }}" }
spec:
  replicas: {{ .Values.replicas }}
  selector: { matchLabels: { app: "{{ .Release.Name }}" } }
  template:
    metadata: { labels: { app: "{{ .Release.Name }}" } }
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: main
          image: {{ .Values.image }}
          imagePullPolicy: IfNotPresent
          command: [sh, -c, "{{ .Values.command }}"]
---
apiVersion: v1
kind: Service
metadata: { name: "{{ .Release.Name }}" }
spec: { selector: { app: "{{ .Release.Name }}" }, ports: [{ port: 80 }] }
`,
  'templates/hooks.yaml': `
apiVersion: batch/v1
kind: Job
metadata:
  name: "{{ .Release.Name }}-before"
  annotations: { helm.sh/hook: pre-install, helm.sh/hook-delete-policy: hook-succeeded }
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{ name: main, image: "{{ .Values.image }}", imagePullPolicy: IfNotPresent, command: ["true"] }]
---
apiVersion: v1
kind: Pod
metadata:
  name: "{{ .Release.Name }}-test"
  annotations: { helm.sh/hook: test }
spec:
  restartPolicy: Never
  containers: [{ name: main, image: "{{ .Values.image }}", imagePullPolicy: IfNotPresent, command: [sh, -c, "echo tested"] }]
`,
};

let bed: AgentFixture;
before(async () => {
  bed = await agentFixture(await claimOctet(), {
    storage: true,
    controllers: [
      createDeploymentController(),
      createReplicaSetController(),
      createJobController(),
      createEndpointSliceController(),
    ],
  });
});
after(() => bed.close());

describe('a chart', { skip: missing, concurrency: false }, () => {
  let chart: string;
  before(async () => {
    chart = join(bed.api.directory, 'sample');
    for (const [name, text] of Object.entries(CHART)) {
      await mkdir(dirname(join(chart, name)), { recursive: true });
      await writeFile(join(chart, name), text);
    }
  });
  after(() => rm(chart, { recursive: true, force: true }));

  const helm = (...args: string[]) => runKubectl(bed.kubeconfig, args, { program: 'helm' });
  const upgrade = (...settings: string[]) =>
    helm('upgrade', 'web', chart, '--set', `image=${bed.image}`, '--atomic', ...settings);
  const deployed = async (path: string) =>
    (await runKubectl(bed.kubeconfig, ['get', 'deployment', 'web', '-o', `jsonpath=${path}`])).stdout;

  test('is installed with its definitions and hooks, and tested', async () => {
    const installed = await helm('install', 'web', chart, '--set', `image=${bed.image}`, '--wait', '--timeout', '50s');
    assert.equal(installed.code, 0, installed.stderr);
    assert.match(installed.stdout, /STATUS: deployed/);
    assert.equal(await deployed('{.status.readyReplicas}'), '1');
    const tested = await helm('test', 'web', '--logs', '--timeout', '50s');
    assert.equal(tested.code, 0, tested.stderr);
    assert.match(tested.stdout, /Phase: +Succeeded[\s\S]*tested/);
  });

  test('is upgraded; an upgrade that fails is rolled back', async () => {
    const better = await upgrade('--set', 'replicas=2,level=2', '--timeout', '50s');
    assert.equal(better.code, 0, better.stderr);
    assert.equal(await deployed('{.status.readyReplicas}'), '2');
    const lower = await upgrade('--set', 'replicas=2,level=1', '--timeout', '20s');
    assert.match(lower.stderr, /levels only rise/);
    // By itself helm would give the way back no more time than the way there.
    const settings = ['--set', `image=${bed.image}`, '--set', 'replicas=2,level=2,command=false'];
    const broken = await helm('upgrade', 'web', chart, ...settings, '--wait', '--timeout', '4s');
    assert.notEqual(broken.code, 0);
    assert.match(broken.stderr, /UPGRADE FAILED/);
    const back = await helm('rollback', 'web', '--wait', '--timeout', '50s');
    assert.equal(back.code, 0, back.stderr);
    assert.equal(await deployed('{.spec.template.spec.containers[0].command[2]}'), 'sleep 1000');
    assert.match((await helm('history', 'web')).stdout, /Rollback to 4\s*$/);
  });

  test('is uninstalled', async () => {
    const gone = await helm('uninstall', 'web', '--wait', '--timeout', '50s');
    assert.equal(gone.code, 0, gone.stderr);
    const left = await runKubectl(bed.kubeconfig, [
      'get',
      'deployments,services,levels,secrets',
      '-l',
      'app.kubernetes.io/managed-by=Helm',
      '-o',
      'name',
    ]);
    assert.equal(left.stdout, '');
  });
});

test('@kubernetes/client-node runs a command in a pod', async () => {
  const config = new KubeConfig();
  config.loadFromFile(bed.kubeconfig);
  await config.makeApiClient(CoreV1Api).createNamespacedPod({
    namespace: 'default',
    body: {
      metadata: { name: 'target' },
      spec: {
        terminationGracePeriodSeconds: 0,
        containers: [{ name: 'main', image: bed.image, imagePullPolicy: 'IfNotPresent', command: ['sleep', '1000'] }],
      },
    },
  });
  await bed.until('target', 'running', (pod) => pod?.status?.phase === 'Running');
  let out = '';
  const stdout = new Writable({
    write(chunk: Buffer, _encoding, done) {
      out += chunk.toString();
      done();
    },
  });
  const { promise, resolve } = Promise.withResolvers<V1Status>();
  const command = ['sh', '-c', 'echo from within; exit 3'];
  await new Exec(config).exec('default', 'target', 'main', command, stdout, null, null, false, resolve);
  const status = await promise;
  assert.equal(out, 'from within\n');
  assert.deepEqual(status.details?.causes, [{ reason: 'ExitCode', message: '3' }]);
});

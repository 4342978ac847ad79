import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';
import { type ApiFixture, apiFixture } from '#testing/apiserver-fixture.ts';
import { kubectlOld } from '#testing/kubectl.ts';

const manifest = (image: string, variable: string) => `
apiVersion: apps/v1
kind: Deployment
metadata: {name: app, labels: {app: app}}
spec:
  replicas: 2
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec:
      containers:
      - name: main
        image: ${image}
        ports: [{containerPort: 80}]
        env: [{name: KEPT, value: "1"}, {name: ${variable}, value: "2"}]
---
apiVersion: v1
kind: Service
metadata: {name: app}
spec: {selector: {app: app}, ports: [{port: 80}]}
`;

describe('API server: stock kubectl', { skip: kubectlOld }, () => {
  let fixture: ApiFixture;
  before(async () => {
    fixture = await apiFixture();
    await ok('create', 'namespace', 'demo');
  });
  after(() => fixture.close());

  async function ok(...args: string[]): Promise<string> {
    const { code, out, err } = await fixture.kubectl(args);
    assert.equal(code, 0, `kubectl ${args.join(' ')}: ${err}`);
    return out;
  }
  async function applied(input: string, ...args: string[]): Promise<{ code: number; out: string; err: string }> {
    return fixture.kubectl(['-n', 'demo', 'apply', ...args, '-f', '-'], { input });
  }

  test('finds its way: version, api-resources, explain, auth', async () => {
    assert.match(await ok('version'), /Server Version: v1\.30\./);
    const resources = await ok('api-resources');
    assert.match(resources, /^deployments +deploy +apps\/v1 +true +Deployment$/m);
    assert.match(resources, /^pods +po +v1 +true +Pod$/m);
    assert.match(
      await ok('explain', 'deployment.spec.strategy'),
      /FIELD: strategy <DeploymentStrategy>[\s\S]*rollingUpdate/,
    );
    assert.equal((await ok('auth', 'can-i', 'create', 'pods')).trim(), 'yes');
    assert.match(await ok('auth', 'whoami'), /admin/);
  });

  test('creates in every way', async () => {
    await ok('-n', 'demo', 'create', 'configmap', 'map', '--from-literal=a=b');
    await ok('-n', 'demo', 'create', 'secret', 'generic', 'secret', '--from-literal=a=b');
    await ok('-n', 'demo', 'create', 'serviceaccount', 'robot');
    await ok('-n', 'demo', 'create', 'deployment', 'web', '--image=nginx', '--replicas=0');
    await ok('-n', 'demo', 'create', 'service', 'clusterip', 'svc', '--tcp=80:8080');
    await ok('-n', 'demo', 'expose', 'deployment', 'web', '--port=80');
    await ok('-n', 'demo', 'run', 'lonely', '--image=busybox', '--', 'sleep', '100');
    const secret = JSON.parse(await ok('-n', 'demo', 'get', 'secret', 'secret', '-o', 'json')) as {
      data: object;
      type: string;
    };
    assert.deepEqual([secret.data, secret.type], [{ a: 'Yg==' }, 'Opaque']);
    const web = JSON.parse(await ok('-n', 'demo', 'get', 'deploy', 'web', '-o', 'json')) as {
      spec: { replicas: number };
    };
    assert.equal(web.spec.replicas, 0);
    const columns = (await ok('-n', 'demo', 'get', 'pods', '-o', 'wide')).split('\n')[0]?.trim().split(/ {2,}/);
    assert.deepEqual(columns, [
      'NAME',
      'READY',
      'STATUS',
      'RESTARTS',
      'AGE',
      'IP',
      'NODE',
      'NOMINATED NODE',
      'READINESS GATES',
    ]);
    const all = await ok('-n', 'demo', 'get', 'all');
    for (const name of ['pod/lonely', 'service/svc', 'deployment.apps/web']) assert.ok(all.includes(name), all);
    const described = await ok('-n', 'demo', 'describe', 'pod', 'lonely');
    assert.match(described, /Status: +Pending/);
    assert.match(described, /Events: +<none>/);
  });

  test('apply: unchanged, changed, and what the manifest no longer has is gone', async () => {
    const first = await applied(manifest('nginx:1', 'GONE'));
    assert.equal(first.code, 0, first.err);
    assert.match(
      (await applied(manifest('nginx:1', 'GONE'))).out,
      /deployment.apps\/app unchanged\nservice\/app unchanged/,
    );
    assert.match((await applied(manifest('nginx:1', 'GONE'), '--dry-run=server')).out, /unchanged \(server dry run\)/);
    assert.match(
      (await applied(manifest('nginx:2', 'NEW'))).out,
      /deployment.apps\/app configured\nservice\/app unchanged/,
    );
    const text = await ok(
      '-n',
      'demo',
      'get',
      'deploy',
      'app',
      '-o',
      'jsonpath={.spec.template.spec.containers[0].image} {.spec.template.spec.containers[0].env[*].name} {.metadata.generation}',
    );
    assert.equal(text, 'nginx:2 KEPT NEW 2');
    const mistaken = await applied(
      '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"containers":[{"name":"x","imagee":"y"}]}}',
    );
    assert.equal(mistaken.code, 1);
    assert.match(mistaken.err, /unknown field "spec.containers\[0\].imagee"/);
  });

  test('apply on the server: ownership and conflicts', async () => {
    const map = (data: string) => `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"ssa"},"data":${data}}`;
    assert.match((await applied(map('{"a":"1","b":"1"}'), '--server-side')).out, /serverside-applied/);
    assert.equal((await applied(map('{"a":"1"}'), '--server-side')).code, 0);
    assert.equal(await ok('-n', 'demo', 'get', 'cm', 'ssa', '-o', 'jsonpath={.data}'), '{"a":"1"}');
    const other = await applied(map('{"a":"2"}'), '--server-side', '--field-manager=other');
    assert.match(other.err, /conflict with "kubectl": \.data\.a|conflict with "kubectl" using v1: \.data\.a/);
    assert.equal(
      (await applied(map('{"a":"2"}'), '--server-side', '--field-manager=other', '--force-conflicts')).code,
      0,
    );
    await ok('-n', 'demo', 'annotate', 'cm', 'ssa', 'x=y');
    const fields = await ok('-n', 'demo', 'get', 'cm', 'ssa', '-o', 'yaml', '--show-managed-fields');
    assert.match(fields, /manager: other/);
    assert.match(fields, /f:annotations/);
  });

  test('label, annotate, scale, set image, patch, rollout restart', async () => {
    await ok('-n', 'demo', 'label', 'deploy', 'app', 'x=y');
    await ok('-n', 'demo', 'annotate', 'deploy', 'app', 'a=b');
    await ok('-n', 'demo', 'scale', 'deploy', 'app', '--replicas=5');
    await ok('-n', 'demo', 'set', 'image', 'deploy/app', 'main=nginx:3');
    await ok(
      '-n',
      'demo',
      'patch',
      'deploy',
      'app',
      '--type=json',
      '-p',
      '[{"op":"replace","path":"/spec/replicas","value":7}]',
    );
    await ok('-n', 'demo', 'rollout', 'restart', 'deploy/app');
    const text = await ok(
      '-n',
      'demo',
      'get',
      'deploy',
      '-l',
      'x in (y),app',
      '-o',
      'jsonpath={.items[*].spec.replicas} {.items[0].spec.template.spec.containers[0].image}',
    );
    assert.equal(text, '7 nginx:3');
  });

  test('get -w shows what happens', async () => {
    await ok('-n', 'demo', 'create', 'configmap', 'there');
    const environment = {
      KUBECONFIG: join(fixture.directory, 'kubeconfig'),
      KUBECACHEDIR: join(fixture.directory, 'cache'),
    };
    const child = spawn('kubectl', ['-n', 'demo', 'get', 'cm', '-w', '--output-watch-events'], {
      env: { ...process.env, ...environment },
      timeout: 60_000,
    });
    const closed = once(child, 'close');
    let sent: Promise<unknown> | undefined;
    const seen: string[] = [];
    for await (const line of createInterface({ input: child.stdout })) {
      if (line.includes('there')) sent = ok('-n', 'demo', 'create', 'configmap', 'watched');
      if (!line.includes('watched')) continue;
      seen.push(line);
      break;
    }
    child.kill();
    await Promise.all([closed, sent]);
    assert.match(seen[0] ?? '', /^ADDED +watched +0 +\d+s$/);
  });

  test('a custom resource from definition to table', async () => {
    const definition = {
      apiVersion: 'apiextensions.k8s.io/v1',
      kind: 'CustomResourceDefinition',
      metadata: { name: 'boats.example.com' },
      spec: {
        group: 'example.com',
        scope: 'Namespaced',
        names: { plural: 'boats', kind: 'Boat', shortNames: ['bt'] },
        versions: [
          {
            name: 'v1',
            served: true,
            storage: true,
            schema: {
              openAPIV3Schema: {
                type: 'object',
                properties: { spec: { type: 'object', properties: { planks: { type: 'integer' } } } },
              },
            },
            additionalPrinterColumns: [{ name: 'Planks', type: 'integer', jsonPath: '.spec.planks' }],
          },
        ],
      },
    };
    assert.equal((await applied(JSON.stringify(definition))).code, 0);
    await ok('wait', '--for=condition=Established', 'crd/boats.example.com', '--timeout=5s');
    const boat = await applied(
      '{"apiVersion":"example.com/v1","kind":"Boat","metadata":{"name":"sampan"},"spec":{"planks":3}}',
    );
    assert.equal(boat.code, 0, boat.err);
    assert.match(await ok('-n', 'demo', 'get', 'bt'), /NAME +PLANKS\nsampan +3\n/);
    assert.match(await ok('explain', 'boat.spec'), /planks\t<integer>/);
    await ok('delete', 'crd', 'boats.example.com', '--timeout=10s');
  });

  test('delete waits until it is gone', async () => {
    await ok('-n', 'demo', 'delete', 'deploy', 'app', '--timeout=5s');
    await ok('-n', 'demo', 'delete', 'pod', '--all', '--timeout=5s');
    assert.equal(await ok('-n', 'demo', 'get', 'pods', '-o', 'name'), '');
    const gone = await fixture.kubectl(['-n', 'demo', 'get', 'deploy', 'app']);
    assert.match(gone.err, /Error from server \(NotFound\): deployments.apps "app" not found/);
  });
});

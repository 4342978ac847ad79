/** Commands of stock kubectl that ask for more than one request: what differs, what is pruned, what somebody edits. */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type ApiFixture, apiFixture } from '#testing/apiserver-fixture.ts';
import { kubectlOld } from '#testing/kubectl.ts';

const configMap = (name: string, data: Record<string, string>) => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, labels: { app: 'shop' } },
  data,
});
const list = (...items: object[]): string => JSON.stringify({ apiVersion: 'v1', kind: 'List', items });

describe('API server: commands of stock kubectl', { skip: kubectlOld }, () => {
  let fixture: ApiFixture;
  before(async () => {
    fixture = await apiFixture();
  });
  after(() => fixture.close());

  const ok = async (words: string, input = ''): Promise<string> => {
    const { code, out, err } = await fixture.kubectl(words.split(' '), { input });
    assert.equal(code, 0, `kubectl ${words}: ${err}`);
    return out.trim();
  };

  test('diff, apply with pruning, replace by force, edit', async () => {
    await ok('apply -f -', list(configMap('one', { key: 'value' }), configMap('two', { key: 'value' })));
    const same = await fixture.kubectl(['diff', '-f', '-'], { input: list(configMap('one', { key: 'value' })) });
    assert.deepEqual([same.code, same.out], [0, '']);
    const differs = await fixture.kubectl(['diff', '-f', '-'], { input: list(configMap('one', { key: 'other' })) });
    assert.equal(differs.code, 1, differs.err);
    assert.match(differs.out, /^-  key: value$/m);
    assert.match(differs.out, /^\+  key: other$/m);
    assert.equal(await ok('get configmap one -o jsonpath={.data.key}'), 'value', 'it was a dry run');
    const pruned = await ok(
      'apply -f - --prune -l app=shop --prune-allowlist=core/v1/ConfigMap',
      list(configMap('one', { key: 'value' })),
    );
    assert.match(pruned, /configmap\/two pruned/);
    const before = await ok('get configmap one -o jsonpath={.metadata.uid}');
    await ok('replace --force -f -', list(configMap('one', { key: 'again' })));
    assert.notEqual(await ok('get configmap one -o jsonpath={.metadata.uid}'), before);
    process.env['KUBE_EDITOR'] = 'sed -i s/again/edited/';
    await ok('edit configmap one');
    assert.equal(await ok('get configmap one -o jsonpath={.data.key}'), 'edited');
    process.env['KUBE_EDITOR'] = 'sed -i s/^data:/date:/';
    const wrong = await fixture.kubectl(['edit', 'configmap', 'one', '--validate=strict']);
    assert.match(`${wrong.out}${wrong.err}`, /unknown field "date"|Edit cancelled, no valid changes were saved/);
  });

  test('a kustomization, made and applied again', async () => {
    const directory = join(fixture.directory, 'kustomized');
    mkdirSync(directory);
    const kustomization = (literal: string): string =>
      `namePrefix: shop-\nconfigMapGenerator:\n- name: settings\n  literals: [${literal}]\n  options: {disableNameSuffixHash: true}\n`;
    writeFileSync(join(directory, 'kustomization.yaml'), kustomization('color=red'));
    assert.equal(await ok(`apply -k ${directory}`), 'configmap/shop-settings created');
    writeFileSync(join(directory, 'kustomization.yaml'), kustomization('color=blue'));
    assert.equal(await ok(`apply -k ${directory}`), 'configmap/shop-settings configured');
    assert.equal(await ok('get configmap shop-settings -o go-template={{.data.color}}'), 'blue');
  });

  test('set, wait, subresources, columns and sorting', async () => {
    await ok('create deployment web --image=image:1 --replicas=2');
    await ok('create serviceaccount robot');
    await ok('set env deployment/web COLOR=red');
    await ok('set resources deployment/web --limits=cpu=200m,memory=64Mi');
    await ok('set serviceaccount deployment/web robot');
    const spec = '{.spec.template.spec';
    assert.equal(
      await ok(
        `get deployment web -o jsonpath=${spec}.containers[0].env[0].value}-${spec}.containers[0].resources.limits.memory}-${spec}.serviceAccountName}`,
      ),
      'red-64Mi-robot',
    );
    assert.equal(await ok('get deployment web --subresource=scale -o jsonpath={.spec.replicas}'), '2');
    const waiting = ok('wait deployment/web --for=jsonpath={.status.readyReplicas}=2 --timeout=60s');
    await ok('patch deployment web --subresource=status --type=merge -p {"status":{"replicas":2,"readyReplicas":2}}');
    assert.equal(await waiting, 'deployment.apps/web condition met');
    await ok('create -f -', list(configMap('b', {}), configMap('a', { x: 'y' })));
    const sorted = await ok(
      'get configmap a b --sort-by=.metadata.name -o custom-columns=N:.metadata.name,X:.data.x --no-headers',
    );
    assert.deepEqual(
      sorted.split('\n').map((line) => line.split(/ +/)),
      [
        ['a', 'y'],
        ['b', '<none>'],
      ],
    );
  });

  test('nodes: cordon, uncordon, taint', async () => {
    await ok('create -f -', JSON.stringify({ apiVersion: 'v1', kind: 'Node', metadata: { name: 'worker' } }));
    assert.equal(await ok('cordon worker'), 'node/worker cordoned');
    assert.equal(await ok('get node worker -o jsonpath={.spec.unschedulable}'), 'true');
    assert.equal(await ok('uncordon worker'), 'node/worker uncordoned');
    await ok('taint node worker tier=db:NoSchedule');
    assert.equal(await ok('get node worker -o jsonpath={.spec.taints[0].value}'), 'db');
    assert.equal(await ok('taint node worker tier-'), 'node/worker untainted');
  });

  test('roles are reconciled; events; what there is', async () => {
    const role = (verbs: string[]): string =>
      list({
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'Role',
        metadata: { name: 'reader', namespace: 'default' },
        rules: [{ apiGroups: [''], resources: ['pods'], verbs }],
      });
    assert.match(await ok('auth reconcile -f -', role(['get'])), /role.* reconciled/);
    await ok('auth reconcile -f -', role(['list']));
    const verbs = await ok('get role reader -o jsonpath={.rules[*].verbs[*]}');
    assert.deepEqual(verbs.split(' ').sort(), ['get', 'list'], 'what it had stays');
    const about = { kind: 'ConfigMap', apiVersion: 'v1', name: 'one', namespace: 'default' };
    const event = { reason: 'Noted', message: 'it was seen', type: 'Normal', lastTimestamp: new Date().toISOString() };
    const object = { apiVersion: 'v1', kind: 'Event', metadata: { name: 'e' }, involvedObject: about, ...event };
    await ok('create -f -', JSON.stringify(object));
    assert.match(await ok('events --for=configmap/one'), /Normal +Noted +ConfigMap\/one +it was seen/);
    assert.match(await ok('cluster-info'), /Kubernetes control plane.* is running at/);
    const versions = (await ok('api-versions')).split('\n');
    for (const version of ['v1', 'apps/v1', 'rbac.authorization.k8s.io/v1']) assert.ok(versions.includes(version));
    assert.match(await ok('get --raw /readyz?verbose'), /readyz check passed/);
  });
});

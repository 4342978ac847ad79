/** Every kind by stock kubectl: created, shown, described, explained, deleted. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { type ApiFixture, apiFixture } from '#testing/apiserver-fixture.ts';
import { kindSamples } from '#testing/kind-samples.ts';

const available = spawnSync('kubectl', ['version', '--client']).status === 0;
// kubectl parses the request that it describes, and the sample's is none; both groups of Events are one store.
const SAMPLES = kindSamples().filter(({ title }) => title !== 'events.k8s.io/v1/events');
const NOT_DESCRIBED = ['CertificateSigningRequest'];

describe('API server: stock kubectl and every kind', { skip: available ? false : 'kubectl is not installed' }, () => {
  let fixture: ApiFixture;
  before(async () => {
    fixture = await apiFixture();
  });
  after(() => fixture.close());

  const ok = async (args: string[], input = ''): Promise<string> => {
    const { code, out, err } = await fixture.kubectl(args, { input });
    assert.equal(code, 0, `kubectl ${args.join(' ')}: ${err}`);
    return out;
  };
  const list = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: SAMPLES.map(({ object }) => object) });
  const full = ({ kind }: (typeof SAMPLES)[number]) =>
    [kind.resource, kind.version, kind.group].filter(Boolean).join('.');

  test('created with strict validation, applied, shown', async () => {
    const created = await ok(['create', '--validate=strict', '-f', '-'], list);
    assert.equal(created.trim().split('\n').length, SAMPLES.length);
    for (const sample of SAMPLES) {
      const name = sample.kind.group === '' ? sample.kind.resource : full(sample);
      const lines = (await ok(['get', name, '-o', 'wide'])).trim().split('\n');
      const heads = lines[0]?.trim().split(/ {2,}/) ?? [];
      assert.deepEqual(
        heads.map((head) => head.toLowerCase()),
        sample.kind.columns.map((column) => column.name.toLowerCase()),
        sample.title,
      );
      assert.ok(
        lines.some((line) => line.includes(sample.name)),
        sample.title,
      );
    }
    const all = await ok(['get', 'all']);
    for (const { kind } of SAMPLES.filter((one) => one.kind.categories.includes('all')))
      assert.ok(all.includes(`${kind.kind.toLowerCase()}${kind.group === '' ? '' : `.${kind.group}`}/`), kind.kind);
  });

  /** Sent as protobuf by clients of 1.32 and later. */
  test('created by commands of their own', async () => {
    const created: [string, string, string][] = [
      ['job j --image=x', 'job/j', '{.spec.template.spec.containers[0].image} {.spec.backoffLimit}'],
      ['cronjob c --image=x --schedule=1,2_*_*_*_*', 'cronjob/c', '{.spec.schedule} {.spec.concurrencyPolicy}'],
      ['quota q --hard=pods=1,cpu=2', 'quota/q', '{.spec.hard.cpu} {.spec.hard.pods}'],
      ['pdb p --selector=a=b --min-available=50%', 'pdb/p', '{.spec.minAvailable} {.spec.selector.matchLabels.a}'],
      ['priorityclass pc --value=-10', 'priorityclass/pc', '{.value} {.preemptionPolicy}'],
      ['role r --verb=get,list --resource=pods', 'role/r', '{.rules[0].verbs[1]} {.rules[0].resources[0]}'],
      ['clusterrole cr --verb=get --non-resource-url=/x', 'clusterrole/cr', '{.rules[0].nonResourceURLs[0]} {.kind}'],
      ['rolebinding rb --role=r --user=jane', 'rolebinding/rb', '{.subjects[0].name} {.roleRef.apiGroup}'],
      [
        'ingress i --rule=a.example/x*=svc:80',
        'ingress/i',
        '{.spec.rules[0].host} {.spec.rules[0].http.paths[0].pathType}',
      ],
    ];
    const seen: string[] = [];
    for (const [command, name, path] of created) {
      await ok(['create', ...command.split(' ').map((word) => word.replaceAll('_', ' '))]);
      seen.push(await ok(['get', name, '-o', `jsonpath=${path}`]));
    }
    assert.deepEqual(seen, [
      'x 6',
      '1,2 * * * * Allow',
      '2 1',
      '50% b',
      '-10 PreemptLowerPriority',
      'list pods',
      '/x ClusterRole',
      'jane rbac.authorization.k8s.io',
      'a.example Prefix',
    ]);
    await ok(['autoscale', 'deployment', 'sample-v1', '--name=auto', '--max=3', '--cpu-percent=60']);
    const target = '{.spec.metrics[0].resource.target.averageUtilization}';
    assert.equal(await ok(['get', 'hpa', 'auto', '-o', `jsonpath=${target}`]), '60');
    await ok(['scale', 'statefulset/sample-v1', 'rc/sample-v1', '--replicas=2']);
    await ok(['set', 'image', 'daemonset/sample-v1', 'main=b:2']);
    await ok(['certificate', 'approve', 'sample-v1']);
    await ok(['debug', 'sample-v1', '--image=b:1', '--target=main', '--attach=false']);
  });

  test('described', async () => {
    for (const sample of SAMPLES.filter(({ kind }) => !NOT_DESCRIBED.includes(kind.kind)))
      assert.match(
        await ok(['describe', sample.kind.group === '' ? sample.kind.resource : full(sample), sample.name]),
        /Name:/,
      );
  });

  test('explained, with all that is in it', async () => {
    for (const { kind, apiVersion } of SAMPLES) {
      const text = await ok(['explain', kind.resource, `--api-version=${apiVersion}`, '--recursive']);
      assert.match(text, new RegExp(`^(GROUP: +${kind.group}\n)?KIND: +${kind.kind}\nVERSION: +${kind.version}\n`));
      assert.match(text, /FIELDS:\n(?: {2}\S+\t<.*\n)+/);
    }
  });
});

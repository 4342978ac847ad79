/** What a write of the status leaves of the metadata, which upstream holds differently for each kind. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type ApiFixture, apiFixture } from '#testing/apiserver-fixture.ts';
import { kindSamples } from '#testing/kind-samples.ts';

let fixture: ApiFixture;
before(async () => {
  fixture = await apiFixture();
});
after(() => fixture.close());

const CASES: [kind: string, label: string, annotation: string][] = [
  ['apps/v1/deployments', 'before', 'now'],
  ['apps/v1/replicasets', 'now', 'now'],
  ['storage.k8s.io/v1/volumeattachments', 'before', 'before'],
  ['admissionregistration.k8s.io/v1/validatingadmissionpolicies', 'before', 'before'],
];

for (const [title, label, annotation] of CASES)
  test(`${title}: the label is as ${label}, the annotation as ${annotation}`, async () => {
    const sample = kindSamples().find((one) => one.title === title);
    assert.ok(sample);
    const metadata = { name: 'labelled', labels: { a: 'before' }, annotations: { a: 'before' } };
    const made = await fixture.call('POST', sample.path, { body: { ...sample.object, metadata } });
    assert.equal(made.status, 201, made.text);
    const { status, json } = await fixture.call('PATCH', `${sample.path}/labelled/status`, {
      body: { metadata: { labels: { a: 'now' }, annotations: { a: 'now' } } },
      headers: { 'content-type': 'application/merge-patch+json' },
    });
    assert.equal(status, 200, json.message);
    assert.deepEqual([json.metadata.labels?.['a'], json.metadata.annotations?.['a']], [label, annotation]);
  });

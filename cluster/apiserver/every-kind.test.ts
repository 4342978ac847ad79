/** What holds for every kind alike: no kind is left out, because the list of kinds is the server's own. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { ApiObject } from '#cluster/kinds/kind.ts';
import { type Answer, type ApiFixture, apiFixture, take } from '#testing/apiserver-fixture.ts';
import { type KindSample, kindSamples } from '#testing/kind-samples.ts';

const TABLE = 'application/json;as=Table;v=v1;g=meta.k8s.io';

describe('API server: every kind', () => {
  let fixture: ApiFixture;
  before(async () => {
    fixture = await apiFixture();
  });
  after(() => fixture.close());

  const patch = (path: string, type: string, body: unknown, query = ''): Promise<Answer> =>
    fixture.call('PATCH', `${path}${query}`, { body, headers: { 'content-type': `application/${type}` } });
  const labels = (answer: Answer) => answer.json.metadata.labels ?? {};

  for (const sample of kindSamples()) {
    test(sample.title, async () => {
      const list = await fixture.call('GET', sample.path);
      assert.equal(list.json.kind, sample.kind.listKind);
      const revision = String(list.json.metadata.resourceVersion);
      const query = `watch=1&resourceVersion=${revision}&fieldSelector=metadata.name%3D${sample.name}`;
      const events = await fixture.watch(`${sample.path}?${query}`);
      const own = `${sample.path}/${sample.name}`;
      const created = await creates(sample);
      await updates(own, created);
      await patches(own);
      await applies(sample, own);
      await views(sample, own);
      await goes(sample, own);
      const seen = (await take(events, 3)).map(({ type, object }) => [type, object.kind, object.apiVersion]);
      assert.deepEqual(seen[0], ['ADDED', sample.kind.kind, sample.apiVersion]);
      assert.deepEqual(seen[1], ['MODIFIED', sample.kind.kind, sample.apiVersion]);
      await events.return(undefined);
    });
  }

  async function creates({ path, object, apiVersion, kind, name }: KindSample): Promise<ApiObject> {
    const strange = { ...object, nonsense: 1 };
    const refused = await fixture.call('POST', `${path}?fieldValidation=Strict`, { body: strange });
    assert.deepEqual([refused.status, refused.json.reason], [400, 'BadRequest']);
    assert.match(refused.json.message, /strict decoding error: unknown field "nonsense"/);
    const tried = await fixture.call('POST', `${path}?dryRun=All`, { body: strange });
    assert.equal(tried.status, 201, tried.text);
    assert.match(String(tried.headers.warning), /299 - "unknown field \\"nonsense\\""/);
    assert.equal((await fixture.call('GET', `${path}/${name}`)).status, 404);
    const created = await fixture.call('POST', path, { body: object });
    assert.equal(created.status, 201, created.text);
    assert.deepEqual([created.json.apiVersion, created.json.kind], [apiVersion, kind.kind]);
    const again = await fixture.call('POST', path, { body: object });
    assert.deepEqual([again.status, again.json.reason], [409, 'AlreadyExists']);
    const got = await fixture.call('GET', `${path}/${name}`);
    assert.deepEqual(got.json, created.json);
    const listed = await fixture.call('GET', `${path}?fieldSelector=metadata.name=${name}`);
    assert.equal(listed.json.items.length, 1);
    return created.json;
  }

  async function updates(own: string, created: ApiObject): Promise<void> {
    const wanted = { ...created, metadata: { ...created.metadata, labels: { step: 'put' } } };
    const updated = await fixture.call('PUT', own, { body: wanted });
    assert.equal(updated.status, 200, updated.text);
    assert.equal(labels(updated)['step'], 'put');
    const stale = await fixture.call('PUT', own, {
      body: { ...wanted, metadata: { ...wanted.metadata, labels: { step: 'stale' }, resourceVersion: '1' } },
    });
    assert.deepEqual([stale.status, stale.json.reason], [409, 'Conflict'], stale.text);
    const other = { ...created, metadata: { ...created.metadata, name: 'another' } };
    assert.equal((await fixture.call('PUT', own, { body: other })).status, 400);
  }

  async function patches(own: string): Promise<void> {
    const json = await patch(own, 'json-patch+json', [
      { op: 'test', path: '/metadata/labels/step', value: 'put' },
      { op: 'replace', path: '/metadata/labels/step', value: 'json' },
    ]);
    assert.equal(labels(json)['step'], 'json', json.text);
    const failing = [{ op: 'test', path: '/metadata/labels/step', value: 'put' }];
    assert.equal((await patch(own, 'json-patch+json', failing)).status, 422);
    const merged = await patch(own, 'merge-patch+json', { metadata: { labels: { step: null, merge: 'yes' } } });
    assert.deepEqual([labels(merged)['step'], labels(merged)['merge']], [undefined, 'yes'], merged.text);
    const strategic = await patch(own, 'strategic-merge-patch+json', { metadata: { labels: { strategic: 'yes' } } });
    assert.deepEqual([labels(strategic)['strategic'], labels(strategic)['merge']], ['yes', 'yes'], strategic.text);
    assert.equal((await patch(own, 'unknown+json', {})).status, 415);
  }

  async function applies({ apiVersion, kind, name }: KindSample, own: string): Promise<void> {
    const applied = (value: string) => ({
      apiVersion,
      kind: kind.kind,
      metadata: { name, labels: { applied: value } },
    });
    const first = await patch(own, 'apply-patch+yaml', applied('first'), '?fieldManager=first');
    assert.equal(first.status, 200, first.text);
    assert.ok(
      first.json.metadata.managedFields?.some(({ manager, operation }) => `${manager} ${operation}` === 'first Apply'),
    );
    const conflict = await patch(own, 'apply-patch+yaml', applied('second'), '?fieldManager=second');
    assert.equal(conflict.status, 409, conflict.text);
    assert.match(conflict.json.message, /conflict with "first"( using \S+)?: \.metadata\.labels\.applied/);
    const forced = await patch(own, 'apply-patch+yaml', applied('second'), '?fieldManager=second&force=true');
    assert.equal(labels(forced)['applied'], 'second', forced.text);
  }

  async function views({ path, kind, apiVersion }: KindSample, own: string): Promise<void> {
    const table = await fixture.call('GET', path, { headers: { accept: TABLE } });
    const columns = table.json['columnDefinitions'] as { name: string }[];
    assert.deepEqual(
      columns.map(({ name }) => name),
      kind.columns.map(({ name }) => name),
    );
    for (const { cells } of table.json['rows'] as { cells: unknown[] }[]) {
      assert.equal(cells.length, columns.length);
      for (const cell of cells) assert.ok(['string', 'number', 'boolean'].includes(typeof cell), String(cell));
    }
    const bare = await fixture.call('GET', own, {
      headers: { accept: 'application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io' },
    });
    assert.deepEqual(Object.keys(bare.json).sort(), ['apiVersion', 'kind', 'metadata']);
    if (!kind.subresources.status) return;
    const status = await fixture.call('GET', `${own}/status`);
    assert.equal(status.json.apiVersion, apiVersion, status.text);
  }

  async function goes({ kind }: KindSample, own: string): Promise<void> {
    const wrong = await fixture.call('DELETE', own, { body: { preconditions: { uid: 'nobody' } } });
    assert.deepEqual([wrong.status, wrong.json.reason], [409, 'Conflict']);
    const deleted = await fixture.call('DELETE', own, { body: { propagationPolicy: 'Background' } });
    assert.equal(deleted.status, 200, deleted.text);
    const gone = await fixture.call('GET', own);
    // These are held until what is in them is gone.
    if (kind.kind === 'Namespace') assert.ok(gone.json.metadata.deletionTimestamp);
    else if (kind.kind !== 'CustomResourceDefinition') assert.equal(gone.status, 404);
  }
});
